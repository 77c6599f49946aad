//! What libc and std's runtime do for other programs, as far as this one needs it: the first instructions, memory, and
//! the end. glibc's start costs more than all that the program does (CPUID, which a hypervisor has to answer, 43 times;
//! relocations; tables of its own), std's reads `/proc/self/maps` besides.
//!
//! There is one thread, and it ends with the call: nothing is given back.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::{asm, naked_asm};
use core::cell::{Cell, UnsafeCell};
use core::ffi::{CStr, c_char, c_int};
use core::mem::MaybeUninit;
use core::panic::PanicInfo;
use core::ptr;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::stdio;
use trunkline_relay::Standard;

#[cfg(not(panic = "abort"))]
compile_error!("without std it is built to be shipped: -p trunkline-relay --no-default-features --profile plugin");

/// Where the kernel begins (fs/binfmt_elf.c, `create_elf_tables`): nothing is set but the stack, which the ABI's
/// functions want aligned to 16 bytes, and without a frame above it.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {begin}", "ud2", begin = sym begin)
}

/// The same: there the stack is aligned.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("mov x29, xzr", "mov x30, xzr", "mov x0, sp", "bl {begin}", "brk #1", begin = sym begin)
}

/// `stack`: the number of arguments; a pointer to each, and null; a pointer to each variable, and null.
unsafe extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: the kernel has laid it out so, with texts that end in NUL and stay for good.
    let (program, variables) = unsafe {
        let arguments = stack.add(1).cast::<*const c_char>();
        let mut texts = Texts(arguments);
        (texts.next().unwrap_or_default(), Texts(arguments.add(*stack + 1)))
    };
    // SAFETY: nothing here closes them, and one that is closed is no other file before it is used: see `stream::open`.
    let standard = unsafe { Standard { input: stdio::stdin(), output: stdio::stdout(), error: stdio::stderr() } };
    exit(trunkline_relay::run(program, variables, standard))
}

/// exit_group(2).
fn exit(status: u8) -> ! {
    // SAFETY: it is the end.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("syscall", in("rax") 231, in("edi") i32::from(status), options(noreturn));
        #[cfg(target_arch = "aarch64")]
        asm!("svc #0", in("x8") 94, in("w0") i32::from(status), options(noreturn));
    }
}

/// Pointers to texts, up to null; the kernel's own.
struct Texts(*const *const c_char);

impl Iterator for Texts {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        // SAFETY: null, behind which nobody goes, or a text that ends in NUL and stays for good.
        unsafe {
            let text = *self.0;
            if text.is_null() {
                return None;
            }
            self.0 = self.0.add(1);
            Some(CStr::from_ptr(text).to_bytes())
        }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: as above.
    let _ = rustix::io::write(unsafe { stdio::stderr() }, b"trunkline-cni: a fault of its own\n");
    exit(1)
}

/// What an ordinary call needs, in pages that cost nothing until they are touched. More comes from the kernel.
struct Arena {
    used: Cell<usize>,
    space: UnsafeCell<MaybeUninit<[u8; Self::SIZE]>>,
}

impl Arena {
    const SIZE: usize = 64 << 10;
}

#[global_allocator]
static ARENA: Arena = Arena { used: Cell::new(0), space: UnsafeCell::new(MaybeUninit::uninit()) };

// SAFETY: there is one thread.
unsafe impl Sync for Arena {}

// SAFETY: no two allocations share a byte: in the arena each begins where the one before it ended, others are mappings
// of their own, which are aligned to a page at least. None is ever given back.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let space = self.space.get().cast::<u8>();
        let start = (space.addr() + self.used.get()).next_multiple_of(layout.align()) - space.addr();
        match start.checked_add(layout.size()) {
            Some(end) if end <= Self::SIZE => {
                self.used.set(end);
                space.wrapping_add(start)
            }
            _ if layout.align() > 4096 => ptr::null_mut(),
            _ => {
                let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
                // SAFETY: a new mapping, where the kernel has room.
                let mapped = unsafe { mmap_anonymous(ptr::null_mut(), layout.size(), prot, flags) };
                mapped.map_or(ptr::null_mut(), |mapped| mapped.cast())
            }
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

// The functions that compilers call for what a program does not say: core expects them of libc. Bytes go one by one where
// the processor has no instruction for all of them, by volatile access: of other loops the compiler would make calls of
// the functions that they are in.

/// Copies what does not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller's promise, that both are of `count` bytes; and the direction flag is clear, says the ABI.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
        #[cfg(not(target_arch = "x86_64"))]
        for n in 0..count {
            to.add(n).write_volatile(from.add(n).read_volatile());
        }
    }
    to
}

/// Copies what may overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller's promise, that both are of `count` bytes. Forwards nothing is overwritten before it was read
    // unless the target begins within the source.
    unsafe {
        if to.addr().wrapping_sub(from.addr()) >= count {
            return memcpy(to, from, count);
        }
        for n in (0..count).rev() {
            to.add(n).write_volatile(from.add(n).read_volatile());
        }
    }
    to
}

/// Fills with the lowest byte of `value`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: c_int, count: usize) -> *mut u8 {
    // SAFETY: the caller's promise, that it is of `count` bytes; and the direction flag is clear, says the ABI.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") value as u8,
            options(nostack, preserves_flags));
        #[cfg(not(target_arch = "x86_64"))]
        for n in 0..count {
            to.add(n).write_volatile(value as u8);
        }
    }
    to
}

/// Compares as unsigned bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> c_int {
    for n in 0..count {
        // SAFETY: the caller's promise, that both are of `count` bytes.
        let (one, other) = unsafe { (one.add(n).read_volatile(), other.add(n).read_volatile()) };
        if one != other {
            return c_int::from(one) - c_int::from(other);
        }
    }
    0
}

/// Whether bytes differ.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { memcmp(one, other, count) }
}

/// The length of a text that ends in NUL.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const c_char) -> usize {
    let mut length = 0;
    // SAFETY: the caller's promise, that there is a NUL.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}
