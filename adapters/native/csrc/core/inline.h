// Functions of an instruction set are always inlined: a copy of one that the linker kept would be compiled for one
// instruction set and called from units of another.
#pragma once

#define LITGPT_INLINE_MEMBER inline __attribute__((always_inline))
#define LITGPT_INLINE static LITGPT_INLINE_MEMBER
