/* frames.macho is this, as it lies in memory once it is loaded:
 *     zig cc -target aarch64-macos.11.0 -O1 -fno-sanitize=all -shared -nostdlib frames_macho.c -o frames.dylib
 * with each segment at its own place (tests/cpp/data/as_loaded.py). */
#define KEPT __attribute__((noinline))
#define HIDDEN __attribute__((noinline, visibility("hidden")))

int data = 3;

KEPT int leaf(int value) { return value * 7; }

static HIDDEN int only_in_symbol_table(volatile int* value) {
    volatile int room[64];
    room[*value & 63] = *value;
    return room[0] + *value;
}

KEPT int with_frame(volatile int* value) { return only_in_symbol_table(value) + leaf(*value); }

KEPT int with_registers(volatile int* a, volatile int* b, volatile int* c) {
    int sum = 0;
    for (int i = 0; i < *a; ++i) sum += with_frame(b) * with_frame(c) + *a * i;
    return sum;
}
