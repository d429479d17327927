#include "plan/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <sstream>
#include <unordered_map>

namespace tiltshift::plan {
namespace {

constexpr size_t kDeepest = 32;

// Thrown through yaml-cpp, which throws itself; caught in ParseYaml.
struct Refused {
  int line;
  std::string what;
};

class TreeBuilder : public YAML::EventHandler {
 public:
  YamlNode root;

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(mark, anchor, YamlNode::Kind::kNull, "");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw Refused{mark.line + 1, "aliases (*name) are not used in specs; write the value out"};
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string& value) override {
    if (!open_.empty() && open_.back()->kind == YamlNode::Kind::kMap && !awaiting_value_.back()) {
      StartField(mark, value);
    } else {
      Add(mark, anchor, YamlNode::Kind::kScalar, value);
    }
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(Add(mark, anchor, YamlNode::Kind::kList, ""));
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(Add(mark, anchor, YamlNode::Kind::kMap, ""));
  }
  void OnMapEnd() override { Close(); }

 private:
  void StartField(const YAML::Mark& mark, const std::string& key) {
    YamlNode& map = *open_.back();
    const auto [first, fresh] = keys_.back().emplace(key, mark.line + 1);
    if (!fresh) {
      throw Refused{mark.line + 1, PathTo(key) + ": is there twice, first on line " +
                                       std::to_string(first->second)};
    }
    map.fields.push_back({key, {}});
    map.fields.back().value.line = mark.line + 1;
    awaiting_value_.back() = true;
  }

  std::string PathTo(const std::string& key) const {
    std::string path;
    for (size_t i = 0; i + 1 < open_.size(); ++i) {
      const YamlNode& node = *open_[i];
      if (node.kind == YamlNode::Kind::kList) {
        path += "[" + std::to_string(node.items.size() - 1) + "]";
      } else {
        path += (path.empty() ? "" : ".") + node.fields.back().name;
      }
    }
    return path.empty() ? key : path + "." + key;
  }

  YamlNode* Add(const YAML::Mark& mark, YAML::anchor_t anchor, YamlNode::Kind kind,
                const std::string& scalar) {
    if (anchor != 0)
      throw Refused{mark.line + 1, "anchors (&name) are not used in specs; write the value out"};
    YamlNode* node = Place(mark);
    node->kind = kind;
    node->scalar = scalar;
    return node;
  }

  YamlNode* Place(const YAML::Mark& mark) {
    if (open_.empty()) return At(mark, root);
    YamlNode& parent = *open_.back();
    if (parent.kind == YamlNode::Kind::kList) return At(mark, parent.items.emplace_back());
    if (!awaiting_value_.back()) throw Refused{mark.line + 1, "a field's name must be plain text"};
    awaiting_value_.back() = false;
    return &parent.fields.back().value;
  }

  static YamlNode* At(const YAML::Mark& mark, YamlNode& node) {
    node.line = mark.line + 1;
    return &node;
  }

  void Open(YamlNode* node) {
    if (open_.size() == kDeepest) throw Refused{node->line, "nested too deeply"};
    open_.push_back(node);
    awaiting_value_.push_back(false);
    keys_.emplace_back();
  }
  void Close() {
    open_.pop_back();
    awaiting_value_.pop_back();
    keys_.pop_back();
  }

  std::vector<YamlNode*> open_;  // from the root down; a parent is not moved while a child is open
  std::vector<bool> awaiting_value_;
  std::vector<std::unordered_map<std::string, int>> keys_;  // of each open map: name -> line
};

}  // namespace

absl::Status YamlError(const std::string& name, int line, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(name, ":", line, ": ", what));
}

absl::StatusOr<YamlNode> ParseYaml(std::string_view text, const std::string& name) {
  try {
    std::istringstream in{std::string(text)};
    YAML::Parser parser(in);
    TreeBuilder builder;
    if (!parser.HandleNextDocument(builder)) return YamlError(name, 1, "is empty");
    TreeBuilder second;
    if (parser.HandleNextDocument(second))
      return YamlError(name, second.root.line, "a second document starts here");
    return std::move(builder.root);
  } catch (const Refused& refused) {
    return YamlError(name, refused.line, refused.what);
  } catch (const YAML::Exception& error) {
    return YamlError(name, std::max(error.mark.line, 0) + 1, error.msg);
  }
}

}  // namespace tiltshift::plan
