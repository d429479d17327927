#include "base/hash.h"
#include "picture/png.h"
#include "worker/provenance.h"
#include "worker/variant_renderer.h"

namespace tiltshift::worker {
namespace {

constexpr char kRenderClass[] = "noop";

class NoopRenderer : public VariantRenderer {
 public:
  explicit NoopRenderer(const provenance::Signer* signer) : signer_(signer) {}

  absl::StatusOr<RenderedVariant> Render(const plan::Plan& plan, const plan::Variant& variant,
                                         const Source& source, Stops&) override {
    std::string what = absl::StrCat(variant.prompt, "\n", variant.index, "\n", variant.seed);
    for (const picture::Image* image : {source.photo, source.mask}) {
      if (image == nullptr) continue;
      const auto& rgb = image->rgb;
      absl::StrAppend(&what, "\n",
                      Sha256Hex({reinterpret_cast<const char*>(rgb.data()), rgb.size()}));
    }
    const std::string hash = Sha256Hex(what);
    std::vector<uint8_t> pixel;
    for (int i = 0; i < 3; ++i)
      pixel.push_back(static_cast<uint8_t>(std::stoi(hash.substr(2 * i, 2), nullptr, 16)));
    RenderedVariant rendered;
    TS_ASSIGN_OR_RETURN(const std::string png, picture::EncodePng(1, 1, pixel));
    TS_ASSIGN_OR_RETURN(rendered.png,
                        WithProvenance(png, plan.spec(), variant, kRenderClass, signer_));
    rendered.render_class = kRenderClass;
    return rendered;
  }

 private:
  const provenance::Signer* const signer_;
};

class NoopRenderers : public Renderers {
 public:
  explicit NoopRenderers(std::shared_ptr<const provenance::Signer> signer)
      : signer_(std::move(signer)) {}
  std::unique_ptr<VariantRenderer> MakeOne() override {
    return std::make_unique<NoopRenderer>(signer_.get());
  }
  absl::StatusOr<std::vector<v1::ModelInfo>> Models() override {
    v1::ModelInfo any;
    any.set_name("*");
    any.set_render_class(kRenderClass);
    return std::vector<v1::ModelInfo>{any};
  }

 private:
  const std::shared_ptr<const provenance::Signer> signer_;
};

}  // namespace

std::unique_ptr<Renderers> MakeNoopRenderers(std::shared_ptr<const provenance::Signer> signer) {
  return std::make_unique<NoopRenderers>(std::move(signer));
}

}  // namespace tiltshift::worker
