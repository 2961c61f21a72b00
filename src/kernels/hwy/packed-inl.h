// Products with packed weights (kernels/packed.h). Compiled once per target; only for x86 from AVX2
// on.

#if defined(RESTKV_KERNELS_HWY_PACKED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_PACKED_INL_H_
#undef RESTKV_KERNELS_HWY_PACKED_INL_H_
#else
#define RESTKV_KERNELS_HWY_PACKED_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/hwy/activations-inl.h"
#include "kernels/hwy/packed_fours-inl.h"
#include "kernels/hwy/packed_pairs-inl.h"
#include "kernels/hwy/packed_tiles-inl.h"
#include "kernels/kernels.h"
#include "kernels/packed.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

// Form: InPairs, InFours or InTiles.
template <class Form, PackedKind kKind>
void multiply_kind(const PackedProductArgs& args) {
  const ActivationTile& first = args.tiles.front();
  if (first.form == ActivationForm::kOffset) return Form::template many<kKind>(args);
  switch (first.rows) {
    case 1: return Form::template few<kKind, 1>(args, first);
    case 2: return Form::template few<kKind, 2>(args, first);
    case 3: return Form::template few<kKind, 3>(args, first);
    default: return Form::template few<kKind, 4>(args, first);
  }
}

template <class Form>
void multiply_in(const PackedProductArgs& args) {
  switch (args.kind) {
    case PackedKind::kQ4_0: return multiply_kind<Form, PackedKind::kQ4_0>(args);
    case PackedKind::kQ5_0: return multiply_kind<Form, PackedKind::kQ5_0>(args);
    case PackedKind::kQ8_0: return multiply_kind<Form, PackedKind::kQ8_0>(args);
    case PackedKind::kQ4K: return multiply_kind<Form, PackedKind::kQ4K>(args);
    case PackedKind::kQ5K: return multiply_kind<Form, PackedKind::kQ5K>(args);
    case PackedKind::kQ6K: return multiply_kind<Form, PackedKind::kQ6K>(args);
  }
}

constexpr decltype(KernelTable::multiply_packed) multiply_packed = multiply_in<InPairs>;

#else

constexpr decltype(KernelTable::multiply_packed) multiply_packed = nullptr;
constexpr decltype(KernelTable::round_activations) round_activations = nullptr;

#endif

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
