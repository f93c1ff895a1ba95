// Functions with names of every kind, for the tests of symbols. Rebuild after a change:
//   g++ -O1 -shared -nostdlib -fPIC -fno-asynchronous-unwind-tables -Wl,--build-id=sha1 \
//       -Wl,-z,max-page-size=4096,-z,noseparate-code -o named.elf named.cpp
//   objcopy --only-keep-debug named.elf named.debug.elf
//   objcopy --strip-all --add-gnu-debuglink=named.debug.elf named.elf named.stripped.elf
volatile int sink;

namespace shapes {
struct Circle {
    int area(int radius) const;
};
__attribute__((noinline)) int Circle::area(int radius) const { return sink * radius; }
}  // namespace shapes

extern "C" {
static __attribute__((noinline, used)) int only_in_symtab(int x) { return sink + x; }
int exported(int x) { return only_in_symtab(x) + shapes::Circle().area(x); }
int _alias_of_exported(int x) __attribute__((alias("exported")));

asm(R"(
    .text
    .globl label_without_size
label_without_size:
    nop
inner_label:
    nop
    ret
    .type sized_after_label, @function
sized_after_label:
    nop
inside_sized:
    nop
    ret
    .size sized_after_label, . - sized_after_label
)");
}
