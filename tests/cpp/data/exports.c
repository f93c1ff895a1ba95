/* exports.pe is this, as it lies in memory once it is loaded:
 *     zig cc -target x86_64-windows-gnu -O1 -fno-sanitize=all -s -shared -nostdlib -Wl,--no-entry exports.c -o exports.dll
 * with each section at its own place (tests/cpp/data/as_loaded.py). */
#define EXPORTED __declspec(dllexport)
#define KEPT __attribute__((noinline))

EXPORTED int data = 3;

static KEPT int without_name(volatile int* value) {
    volatile int room[64];
    room[*value & 63] = *value;
    return room[0] + *value;
}

EXPORTED KEPT int leaf(int value) { return value * 7; }

EXPORTED KEPT int with_frame(volatile int* value) { return without_name(value) + leaf(*value); }

EXPORTED KEPT int with_registers(volatile int* a, volatile int* b, volatile int* c) {
    int sum = 0;
    for (int i = 0; i < *a; ++i) sum += with_frame(b) * with_frame(c) + *a * i;
    return sum;
}
