#include "engine/checkpoint_names.h"

#include <array>
#include <charconv>
#include <span>

#include "absl/strings/str_cat.h"

namespace tiltshift::engine {
namespace {

// A row takes names that begin with `from`, in which # stands for a number. In `to` stand for a number n
//   %n, %m  the first and the second as they are
//   %l, %j  level and layer of an input block: (n - 1) / (layers + 1) and its rest
//   %u, %k  level and layer of an output block: n / (layers + 1) and its rest
//   %v      a level of the VAE counted from the other end
// What follows in the name is translated by the group's inner rows, or stays.
struct Row {
  std::string_view from, to;
};

constexpr Row kUnetRows[] = {
    {"time_embed.0", "time_embedding.linear_1"},
    {"time_embed.2", "time_embedding.linear_2"},
    {"time_embed.cond_proj", "time_embedding.cond_proj"},
    {"label_emb.0.0", "add_embedding.linear_1"},
    {"label_emb.0.2", "add_embedding.linear_2"},
    {"input_blocks.0.0", "conv_in"},
    {"input_blocks.#.0.op", "down_blocks.%l.downsamplers.0.conv"},
    {"input_blocks.#.0", "down_blocks.%l.resnets.%j"},
    {"input_blocks.#.1", "down_blocks.%l.attentions.%j"},
    {"middle_block.0", "mid_block.resnets.0"},
    {"middle_block.1", "mid_block.attentions.0"},
    {"middle_block.2", "mid_block.resnets.1"},
    {"output_blocks.#.1.conv", "up_blocks.%u.upsamplers.0.conv"},
    {"output_blocks.#.2.conv", "up_blocks.%u.upsamplers.0.conv"},
    {"output_blocks.#.0", "up_blocks.%u.resnets.%k"},
    {"output_blocks.#.1", "up_blocks.%u.attentions.%k"},
    {"out.0", "conv_norm_out"},
    {"out.2", "conv_out"},
};
constexpr Row kUnetInner[] = {
    {"in_layers.0", "norm1"},  {"in_layers.2", "conv1"},  {"emb_layers.1", "time_emb_proj"},
    {"out_layers.0", "norm2"}, {"out_layers.3", "conv2"}, {"skip_connection", "conv_shortcut"},
};

constexpr Row kVaeRows[] = {
    {"encoder.down.#.block.#", "encoder.down_blocks.%n.resnets.%m"},
    {"encoder.down.#.downsample.conv", "encoder.down_blocks.%n.downsamplers.0.conv"},
    {"encoder.mid.block_1", "encoder.mid_block.resnets.0"},
    {"encoder.mid.block_2", "encoder.mid_block.resnets.1"},
    {"encoder.mid.attn_1", "encoder.mid_block.attentions.0"},
    {"encoder.norm_out", "encoder.conv_norm_out"},
    {"encoder.conv_in", "encoder.conv_in"},
    {"encoder.conv_out", "encoder.conv_out"},
    {"decoder.up.#.block.#", "decoder.up_blocks.%v.resnets.%m"},
    {"decoder.up.#.upsample.conv", "decoder.up_blocks.%v.upsamplers.0.conv"},
    {"decoder.mid.block_1", "decoder.mid_block.resnets.0"},
    {"decoder.mid.block_2", "decoder.mid_block.resnets.1"},
    {"decoder.mid.attn_1", "decoder.mid_block.attentions.0"},
    {"decoder.norm_out", "decoder.conv_norm_out"},
    {"decoder.conv_in", "decoder.conv_in"},
    {"decoder.conv_out", "decoder.conv_out"},
    {"quant_conv", "quant_conv"},
    {"post_quant_conv", "post_quant_conv"},
};
constexpr Row kVaeInner[] = {
    {"nin_shortcut", "conv_shortcut"}, {"norm", "group_norm"}, {"q", "to_q"}, {"k", "to_k"},
    {"v", "to_v"},                     {"proj_out", "to_out.0"},
};

// transformers' own names, one prefix less.
constexpr Row kClipRows[] = {
    {"text_model.embeddings.position_ids", ""},
    {"text_model", "text_model"},
    {"embeddings.position_ids", ""},
    {"embeddings", "embeddings"},
    {"encoder", "encoder"},
    {"final_layer_norm", "final_layer_norm"},
};

constexpr Row kOpenClipRows[] = {
    {"token_embedding", "text_model.embeddings.token_embedding"},
    {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
    {"transformer.resblocks.#", "text_model.encoder.layers.%n"},
    {"ln_final", "text_model.final_layer_norm"},
    {"text_projection", "text_projection.weight"},
};
constexpr Row kOpenClipInner[] = {
    {"ln_1", "layer_norm1"},
    {"ln_2", "layer_norm2"},
    {"attn.in_proj_weight", "self_attn.%s_proj.weight"},
    {"attn.in_proj_bias", "self_attn.%s_proj.bias"},
    {"attn.out_proj", "self_attn.out_proj"},
    {"mlp.c_fc", "mlp.fc1"},
    {"mlp.c_proj", "mlp.fc2"},
};

struct Group {
  std::string_view prefix;
  CheckpointPart part;
  std::span<const Row> rows, inner;
};
constexpr Group kGroups[] = {
    {"model.diffusion_model.", CheckpointPart::kUnet, kUnetRows, kUnetInner},
    {"first_stage_model.", CheckpointPart::kVae, kVaeRows, kVaeInner},
    {"cond_stage_model.transformer.", CheckpointPart::kText, kClipRows, {}},
    {"cond_stage_model.model.", CheckpointPart::kText, kOpenClipRows, kOpenClipInner},
    {"conditioner.embedders.0.transformer.", CheckpointPart::kText, kClipRows, {}},
    {"conditioner.embedders.0.model.", CheckpointPart::kText2, kOpenClipRows, kOpenClipInner},
    {"conditioner.embedders.1.model.", CheckpointPart::kText2, kOpenClipRows, kOpenClipInner},
};

struct Match {
  std::array<int, 2> numbers = {};
  std::string_view rest;  // "" or ".weight"
};

std::optional<Match> MatchRow(std::string_view pattern, std::string_view name) {
  Match match;
  size_t found = 0;
  for (const char c : pattern) {
    if (name.empty()) return std::nullopt;
    if (c != '#') {
      if (name.front() != c) return std::nullopt;
      name.remove_prefix(1);
      continue;
    }
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), match.numbers[found++]);
    if (error != std::errc() || end - name.data() > 4) return std::nullopt;
    name.remove_prefix(end - name.data());
  }
  if (!name.empty() && name.front() != '.') return std::nullopt;
  match.rest = name;
  return match;
}

std::string Fill(std::string_view to, const Match& match, const CheckpointCounts& counts) {
  const auto [n, m] = match.numbers;
  const int each = counts.unet_layers + 1;
  std::string name;
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i] != '%') {
      name += to[i];
      continue;
    }
    switch (to[++i]) {
      case 'n': absl::StrAppend(&name, n); break;
      case 'm': absl::StrAppend(&name, m); break;
      case 'l': absl::StrAppend(&name, (n - 1) / each); break;
      case 'j': absl::StrAppend(&name, (n - 1) % each); break;
      case 'u': absl::StrAppend(&name, n / each); break;
      case 'k': absl::StrAppend(&name, n % each); break;
      case 'v': absl::StrAppend(&name, counts.vae_levels - 1 - n); break;
      default: name += to.substr(i - 1, 2);  // %s, of kThirds
    }
  }
  return name;
}

// The first row that takes the name, applied.
std::optional<std::string> Apply(std::span<const Row> rows, std::string_view name, const CheckpointCounts& counts,
                                 std::string_view* rest) {
  for (const Row& row : rows) {
    const std::optional<Match> match = MatchRow(row.from, name);
    if (!match) continue;
    *rest = match->rest;
    return Fill(row.to, *match, counts);
  }
  return std::nullopt;
}

CheckpointForm FormOf(const CheckpointName& name) {
  if (name.name.find("%s") != std::string::npos) return CheckpointForm::kThirds;
  if (name.name == "text_projection.weight") return CheckpointForm::kTransposed;
  const bool attends = name.name.find(".attentions.0.to_") != std::string::npos;
  if (name.part == CheckpointPart::kVae && attends && name.name.ends_with(".weight")) return CheckpointForm::kMatrix;
  return CheckpointForm::kSame;
}

}  // namespace

std::optional<CheckpointName> TranslateCheckpointName(std::string_view name, const CheckpointCounts& counts) {
  for (const Group& group : kGroups) {
    if (!name.starts_with(group.prefix)) continue;
    std::string_view rest;
    const auto outer = Apply(group.rows, name.substr(group.prefix.size()), counts, &rest);
    if (!outer || outer->empty()) return std::nullopt;
    CheckpointName translated = {.part = group.part, .name = *outer};
    if (!rest.empty()) {
      std::string_view after;
      const auto inner = Apply(group.inner, rest.substr(1), counts, &after);
      absl::StrAppend(&translated.name, inner ? absl::StrCat(".", *inner, std::string(after)) : std::string(rest));
    }
    translated.form = FormOf(translated);
    return translated;
  }
  return std::nullopt;
}

}  // namespace tiltshift::engine
