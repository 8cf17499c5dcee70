// Placement new. The header <new> belongs to the C++ library, which not every compiler at hand has.
#pragma once

#include <stddef.h>

inline void* operator new(size_t, void* place) noexcept { return place; }
