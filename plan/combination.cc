#include "plan/combination.h"

#include <algorithm>
#include <cctype>

#include "absl/strings/str_join.h"
#include "base/check.h"
#include "plan/combination_node.h"

namespace tiltshift::plan {

namespace {

using Node = Combination::Node;
constexpr int kDeepest = 64;

bool IsNameChar(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

std::string KnownAxes(const std::vector<AxisSize>& axes) {
  return absl::StrJoin(axes, ", ",
                       [](std::string* out, const AxisSize& a) { out->append(a.name); });
}

// product := element ('*' element)*      element := NAME | '(' product (',' product)* ')'
class Parser {
 public:
  Parser(std::string_view text, const std::vector<AxisSize>& axes)
      : text_(text), axes_(axes), used_(axes.size(), false) {}

  absl::StatusOr<std::unique_ptr<Node>> Whole() {
    TS_ASSIGN_OR_RETURN(auto root, Product(0));
    if (Peek() != '\0') return Error("expected '*' or the end");
    for (size_t i = 0; i < axes_.size(); ++i) {
      if (!used_[i]) {
        return Error(absl::StrCat("axis ", axes_[i].name,
                                  " is missing; multiply by it, or remove the axis"));
      }
    }
    return root;
  }

 private:
  absl::StatusOr<std::unique_ptr<Node>> Product(int depth) {
    if (depth > kDeepest) return Error(absl::StrCat("more than ", kDeepest, " nested parentheses"));
    auto node = std::make_unique<Node>();
    node->kind = Node::Kind::kProduct;
    node->count = 1;
    do {
      TS_ASSIGN_OR_RETURN(auto element, Element(depth));
      if (element->count > Combination::kMostVariants / node->count) {
        return absl::OutOfRangeError(
            absl::StrCat("combine: \"", std::string(text_),
                         "\" makes more than 2^62 variants; shorten an axis"));
      }
      node->count *= element->count;
      node->children.push_back(std::move(element));
    } while (Take('*'));
    if (node->children.size() == 1) return std::move(node->children[0]);
    return node;
  }

  absl::StatusOr<std::unique_ptr<Node>> Element(int depth) {
    if (Take('(')) return Association(depth);
    return Axis();
  }

  absl::StatusOr<std::unique_ptr<Node>> Association(int depth) {
    auto node = std::make_unique<Node>();
    node->kind = Node::Kind::kAssociation;
    do {
      TS_ASSIGN_OR_RETURN(auto part, Product(depth + 1));
      if (!node->children.empty() && part->count != node->count) {
        return Error(absl::StrCat("the parts of an association need equal lengths; here ",
                                  node->count, " and ", part->count));
      }
      node->count = part->count;
      node->children.push_back(std::move(part));
    } while (Take(','));
    if (!Take(')')) return Error("expected ',' or ')'");
    if (node->children.size() == 1) return std::move(node->children[0]);
    return node;
  }

  absl::StatusOr<std::unique_ptr<Node>> Axis() {
    Peek();
    const size_t start = position_;
    while (position_ < text_.size() && IsNameChar(text_[position_])) ++position_;
    const std::string_view name = text_.substr(start, position_ - start);
    if (name.empty()) return Error("expected the name of an axis or '('");
    for (size_t i = 0; i < axes_.size(); ++i) {
      if (axes_[i].name != name) continue;
      if (used_[i]) return ErrorAt(start, absl::StrCat("axis ", axes_[i].name, " appears twice"));
      used_[i] = true;
      auto node = std::make_unique<Node>();
      node->axis = i;
      node->count = axes_[i].count;
      return node;
    }
    return ErrorAt(start, absl::StrCat("unknown axis ", std::string(name),
                                       "; the axes are: ", KnownAxes(axes_)));
  }

  char Peek() {
    while (position_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[position_])))
      ++position_;
    return position_ < text_.size() ? text_[position_] : '\0';
  }
  bool Take(char c) {
    if (Peek() != c) return false;
    ++position_;
    return true;
  }
  absl::Status Error(const std::string& what) const { return ErrorAt(position_, what); }
  absl::Status ErrorAt(size_t at, const std::string& what) const {
    return absl::InvalidArgumentError(
        absl::StrCat("combine: \"", std::string(text_), "\", column ", at + 1, ": ", what));
  }

  std::string_view text_;
  const std::vector<AxisSize>& axes_;
  std::vector<bool> used_;
  size_t position_ = 0;
};

void Spread(const Node& node, uint64_t index, std::vector<uint64_t>& positions) {
  if (node.kind == Node::Kind::kAxis) {
    positions[node.axis] = index;
  } else if (node.kind == Node::Kind::kAssociation) {
    for (const auto& child : node.children) Spread(*child, index, positions);
  } else {
    for (auto child = node.children.rbegin(); child != node.children.rend(); ++child) {
      Spread(**child, index % (*child)->count, positions);
      index /= (*child)->count;
    }
  }
}

absl::StatusOr<uint64_t> Gather(const Node& node, const std::vector<uint64_t>& positions) {
  if (node.kind == Node::Kind::kAxis) return positions[node.axis];
  uint64_t index = 0;
  for (size_t i = 0; i < node.children.size(); ++i) {
    TS_ASSIGN_OR_RETURN(const uint64_t part, Gather(*node.children[i], positions));
    if (node.kind == Node::Kind::kProduct) {
      index = index * node.children[i]->count + part;
    } else if (i == 0) {
      index = part;
    } else if (index != part) {
      return absl::NotFoundError("the association pairs these values with others");
    }
  }
  return index;
}

bool Told(const Node& node, const std::vector<bool>& known) {
  auto told = [&](const auto& child) { return Told(*child, known); };
  if (node.count == 1) return true;
  if (node.kind == Node::Kind::kAxis) return known[node.axis];
  if (node.kind == Node::Kind::kProduct)
    return std::all_of(node.children.begin(), node.children.end(), told);
  return std::any_of(node.children.begin(), node.children.end(), told);
}

}  // namespace

Combination::Combination(std::unique_ptr<Node> root, size_t axes)
    : root_(std::move(root)), axes_(axes) {}
Combination::Combination(Combination&&) noexcept = default;
Combination& Combination::operator=(Combination&&) noexcept = default;
Combination::~Combination() = default;

absl::StatusOr<Combination> Combination::Parse(std::string_view text,
                                               const std::vector<AxisSize>& axes) {
  std::string all;
  if (text.empty()) {
    all = absl::StrJoin(axes, " * ",
                        [](std::string* out, const AxisSize& a) { out->append(a.name); });
    text = all;
  }
  if (axes.empty()) {
    if (!text.empty()) return absl::InvalidArgumentError("combine: there are no axes to combine");
    auto one = std::make_unique<Node>();
    one->kind = Node::Kind::kProduct;
    one->count = 1;
    return Combination(std::move(one), 0);
  }
  TS_ASSIGN_OR_RETURN(auto root, Parser(text, axes).Whole());
  return Combination(std::move(root), axes.size());
}

uint64_t Combination::count() const { return root_->count; }

std::vector<uint64_t> Combination::PositionsAt(uint64_t index) const {
  TS_CHECK(index < count());
  std::vector<uint64_t> positions(axes_, 0);
  Spread(*root_, index, positions);
  return positions;
}

bool Combination::IsToldBy(const std::vector<bool>& known) const {
  TS_CHECK(known.size() == axes_);
  return Told(*root_, known);
}

absl::StatusOr<uint64_t> Combination::IndexOf(const std::vector<uint64_t>& positions) const {
  TS_CHECK(positions.size() == axes_);
  return Gather(*root_, positions);
}

}  // namespace tiltshift::plan
