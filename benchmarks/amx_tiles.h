// Included before each C++ source of llama.cpp. GCC's _tile_loadconfig (up to version 12 at least) tells the compiler
// that it reads 8 bytes, and not 64: the stores of the sizes of the tiles are removed as dead, and the first tile
// instruction is illegal.
#if defined(__AMX_TILE__) && defined(__GNUC__)
#include <immintrin.h>
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg %0" : : "m"(*(const char (*)[64])(config)))
#endif
