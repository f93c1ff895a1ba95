// Functions with known frames for the unit tests; instructions matter only by their length.
// Rebuild after a change:
//   gcc -shared -nostdlib -Wl,--build-id=sha1 -Wl,-z,max-page-size=4096,-z,noseparate-code \
//       -o frames_x86_64.elf frames_x86_64.S
    .text
    .macro function name
    .globl \name
    .type \name, @function
\name:
    .cfi_startproc
    .endm
    .macro end name
    .cfi_endproc
    .size \name, . - \name
    .endm

    // a part that was split off: coming first, it has the assembler make a
    // CIE of its own of what holds from its start
    function split_off
    .cfi_def_cfa_offset 304
    .cfi_offset 3, -16
    nop
    jmp leaf
    end split_off

    function leaf
    nop
    ret
    end leaf

    // +0 entry, +1 rbp pushed, +2 rbx pushed too, +9 with 32 bytes of locals, ...
    function pushes
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset 6, -16
    pushq %rbx
    .cfi_def_cfa_offset 24
    .cfi_offset 3, -24
    subq $0x100, %rsp
    .cfi_def_cfa_offset 280
    call leaf
    .cfi_remember_state
    addq $0x100, %rsp
    .cfi_def_cfa_offset 24
    popq %rbx
    .cfi_restore 3
    .cfi_def_cfa_offset 16
    popq %rbp
    .cfi_restore 6
    .cfi_def_cfa_offset 8
    ret
    .cfi_restore_state
    call pushes
    end pushes

    // realigned stack: the CFA is loaded from beside the frame pointer
    function realigned
    leaq 8(%rsp), %r10
    .cfi_def_cfa 10, 0
    andq $-32, %rsp
    pushq -8(%r10)
    pushq %rbp
    movq %rsp, %rbp
    .cfi_escape 0x10, 6, 2, 0x76, 0             // rbp saved at rbp + 0
    pushq %r10
    .cfi_escape 0x0f, 3, 0x76, 0x78, 0x06       // CFA = load(rbp - 8)
    pushq %rbx
    .cfi_escape 0x10, 3, 2, 0x76, 0x70          // rbx saved at rbp - 16
    call pushes
    end realigned

    // CFA in a register that only callees save: what the lazy binder does
    function rbx_based
    pushq %rbx
    .cfi_def_cfa_offset 16
    .cfi_offset 3, -16
    movq %rsp, %rbx
    .cfi_def_cfa_register 3
    andq $-64, %rsp
    call realigned
    end rbx_based

    // the stub of a linkage table: 8 bytes more from byte 11 of 16 on
    .p2align 4
    function stub
    .cfi_escape 0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22
    .rept 16
    nop
    .endr
    end stub

    // handwritten cryptography: load(rsp + 40) + 8
    function loaded_cfa
    .cfi_escape 0x0f, 5, 0x77, 40, 0x06, 0x23, 8
    nop
    call leaf
    end loaded_cfa

    function outermost
    .cfi_undefined 16
    call rbx_based
    hlt
    end outermost

    nop
    .globl trampoline
    .type trampoline, @function
trampoline:
    .cfi_startproc
    .cfi_signal_frame
    .cfi_def_cfa 7, 8
    movq $15, %rax
    syscall
    .cfi_endproc
    .size trampoline, . - trampoline

    // the same without information
    .globl bare_trampoline
    .type bare_trampoline, @function
bare_trampoline:
    movq $15, %rax
    syscall
    .size bare_trampoline, . - bare_trampoline

    .globl bare
    .type bare, @function
bare:
    nop
    call leaf
    call *%rax
    call *8(%rax)
    call *0x1000(%rax)
    call *(%rsp,%rcx,8)
    ret
    .size bare, . - bare

    // an expression nobody writes: no information rather than wrong information
    function unknown
    .cfi_escape 0x0f, 2, 0x77, 8
    nop
    .cfi_escape 0x0f, 3, 0x31, 0x32, 0x22
    nop
    end unknown
