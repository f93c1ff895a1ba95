// Functions with known frames for the unit tests; instructions matter only by their length.
// Rebuild after a change:
//   aarch64-linux-gnu-gcc -shared -nostdlib -Wl,--build-id=sha1 -Wl,-z,max-page-size=4096,-z,noseparate-code \
//       -o frames_aarch64.elf frames_aarch64.S
    .text
    .macro function name
    .globl \name
    .type \name, %function
\name:
    .cfi_startproc
    .endm
    .macro end name
    .cfi_endproc
    .size \name, . - \name
    .endm

    // +0 return address in x30; never saved
    function leaf
    nop
    ret
    end leaf

    // +0 entry, +4 x29 and x30 saved, +12 x19 saved and x29 is the base, +20 epilogue done
    function framed
    stp x29, x30, [sp, #-48]!
    .cfi_def_cfa_offset 48
    .cfi_offset 29, -48
    .cfi_offset 30, -40
    mov x29, sp
    .cfi_def_cfa_register 29
    str x19, [sp, #16]
    .cfi_offset 19, -32
    bl leaf
    .cfi_remember_state
    ldp x29, x30, [sp], #48
    .cfi_restore 30
    .cfi_restore 29
    .cfi_restore 19
    .cfi_def_cfa 31, 0
    ret
    .cfi_restore_state
    bl framed
    end framed

    // +4 return address signed, +8 saved
    function signed_return
    hint #25
    .cfi_negate_ra_state
    stp x29, x30, [sp, #-16]!
    .cfi_def_cfa_offset 16
    .cfi_offset 29, -16
    .cfi_offset 30, -8
    bl framed
    ldp x29, x30, [sp], #16
    hint #29
    .cfi_restore 30
    .cfi_restore 29
    .cfi_def_cfa_offset 0
    .cfi_negate_ra_state
    ret
    end signed_return

    function outermost
    .cfi_undefined 30
    bl signed_return
    end outermost

    // what a kernel's signal trampoline looks like to call frame information
    .globl trampoline
    .type trampoline, %function
    nop
trampoline:
    .cfi_startproc
    .cfi_signal_frame
    .cfi_def_cfa 31, 0
    mov x8, #139
    svc #0
    .cfi_endproc
    .size trampoline, . - trampoline

    // no information at all: code of those who forgot
    .globl bare
    .type bare, %function
bare:
    nop
    bl leaf
    ret
    .size bare, . - bare
