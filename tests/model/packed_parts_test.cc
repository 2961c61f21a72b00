// Packed weights that are let go of need no memory, and come again to the same bits.

#include <ggml.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "kernels/kernels.h"
#include "model/model.h"
#include "support/process_folder.h"
#include "support/random_model.h"
#include "support/resident_bytes.h"
#include "tensor/linear_matrices.h"

namespace restkv {
namespace {

struct Loaded {
  std::shared_ptr<const GgufFile> file;
  std::unique_ptr<Model> model;
};
Loaded load(RandomModel shape, int weight_type) {
  shape.weight_type = weight_type;
  const std::string path = process_file("packed.gguf");
  EXPECT_TRUE(random_model_file(shape).write(path).ok());
  Loaded loaded{.file = GgufFile::open(path, {}).value(), .model = nullptr};
  loaded.model = Model::load(loaded.file, {}).value();
  return loaded;
}

TEST(PackedParts, TakeNoMemoryWhileTheyAreGone) {
  if (mapped_from() > (std::size_t{1} << 30)) GTEST_SKIP() << "a checked heap has more memory";
  const KernelTable& kernels = **table_by_name("");
  if (kernels.multiply_packed == nullptr) GTEST_SKIP() << "these kernels pack no weights";
  RandomModel shape = random_llama();
  shape.n_layer = 4;
  shape.n_embd = 512;
  shape.n_ff = 4096;
  const Loaded loaded = load(shape, GGML_TYPE_Q8_0);
  const Threads threads(1);
  loaded.model->give_back_pages();
  malloc_trim(0);  // what writing the file took may be used again otherwise
  const std::size_t nothing = resident_bytes();
  ASSERT_TRUE(loaded.model->pack(threads, kernels).ok());
  const std::size_t layer = std::size_t{3} * 512 * 4096;  // bytes, at the least
  EXPECT_GT(resident_bytes(), nothing + 4 * layer);
  loaded.model->let_go_of_packed();
  EXPECT_LT(resident_bytes(), nothing + layer / 2);
  loaded.model->hold_layer(threads, 2);
  EXPECT_GT(resident_bytes(), nothing + layer);
  EXPECT_LT(resident_bytes(), nothing + 2 * layer);
  loaded.model->hold_packed(threads);
  EXPECT_GT(resident_bytes(), nothing + 4 * layer);
  loaded.model->let_go_of_layer(0);
  EXPECT_LT(resident_bytes(), nothing + 4 * layer + layer / 2);
}

TEST(PackedParts, ComeAgainToTheSameBits) {
  const KernelTable& kernels = **table_by_name("");
  if (kernels.multiply_packed == nullptr) GTEST_SKIP() << "these kernels pack no weights";
  for (const int type : {GGML_TYPE_Q4_0, GGML_TYPE_Q5_0, GGML_TYPE_Q8_0}) {
    const Loaded loaded = load(random_qwen2(), type);
    Model& model = *loaded.model;
    const Threads threads(2);
    ASSERT_TRUE(model.pack(threads, kernels).ok());
    PassBuffers buffers;
    const Pass pass{.kernels = kernels,
                    .threads = threads,
                    .products = {.phase = PassProducts::Phase::kPrefill, .n_token = 1},
                    .buffers = buffers};
    const auto n_vocab = static_cast<std::size_t>(model.config().n_vocab);
    const auto n_embd = static_cast<std::size_t>(model.config().n_embd);
    const auto last_of_all = [&] {
      std::vector<float> hidden(n_embd);
      const Token token = 5;
      model.embed(pass, {&token, 1}, {hidden.data(), 1, n_embd});
      std::vector<float> attention(model.config().q_size(), 0.5F);
      for (int layer = 0; layer < model.config().n_layer; ++layer) {
        model.hold_layer(threads, layer);
        model.finish_layer(pass, layer, {attention.data(), 1, attention.size()},
                           {hidden.data(), 1, n_embd});
      }
      model.hold_output(threads);
      std::vector<float> logits(n_vocab);
      model.logits(pass, {hidden.data(), 1, n_embd}, {logits.data(), 1, n_vocab});
      return logits;
    };
    const std::vector<float> wanted = last_of_all();
    model.let_go_of_packed();
    EXPECT_EQ(last_of_all(), wanted) << type;
    model.let_go_of_layer(1);
    model.let_go_of_layer(1);
    EXPECT_EQ(last_of_all(), wanted) << type;
  }
}

// Its memory is that of no weights, and the next one who asks for it must not take it for packed.
TEST(PackedParts, APartThatCouldNotBePackedIsNotHeld) {
  const KernelTable& kernels = **table_by_name("");
  const Matrix matrix = make_matrix(GGML_TYPE_Q8_0, 64, 64);
  Linear linear = matrix.linear();
  bool fails = true;
  PackedParts parts({{&linear}}, kernels, [&fails](const Linear&) {
    if (fails) throw std::bad_alloc();
  });
  const Threads threads(1);
  if (PackedParts::bytes_of({{&linear}}, kernels) == 0) GTEST_SKIP() << "nothing is packed here";
  EXPECT_THROW(parts.hold(threads, 0), std::bad_alloc);
  EXPECT_FALSE(parts.holds(0));
  fails = false;
  parts.hold(threads, 0);
  EXPECT_TRUE(parts.holds(0));
}

// Of a type that has no packed form there is nothing to let go of.
TEST(PackedParts, WeightsWithoutACopyStay) {
  const KernelTable& kernels = **table_by_name("");
  const Loaded loaded = load(random_llama(), GGML_TYPE_F32);
  const Threads threads(1);
  loaded.model->let_go_of_packed();  // nothing was packed yet
  ASSERT_TRUE(loaded.model->pack(threads, kernels).ok());
  loaded.model->let_go_of_packed();
  loaded.model->hold_layer(threads, 0);
  loaded.model->hold_packed(threads);
}

}  // namespace
}  // namespace restkv
