//! Answers every request with a short fixed body: the smallest `wasi:http` component, so that
//! `wasmtime serve` is measured and not the guest. It does not use `std`, which would import
//! `wasi:cli` and make each request's set-up more expensive for `wasmtime serve`.
#![no_std]

extern crate alloc;

use alloc::alloc::{Layout, alloc, realloc};

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

/// Sixteen bytes, as many as the other tests send and get.
const BODY: &[u8] = b"0123456789abcdef";

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

struct Hello;

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(_request: IncomingRequest, answer_to: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the body was not taken yet");
        ResponseOutparam::set(answer_to, Ok(response));
        let stream = body.write().expect("the stream was not taken yet");
        stream
            .blocking_write_and_flush(BODY)
            .expect("the client still listens");
        drop(stream);
        OutgoingBody::finish(body, None).expect("all of the body was written");
    }
}

wasip2::http::proxy::export!(Hello);

/// The canonical ABI calls this to place a list or a string in this module's memory. The bindings
/// export it only with `std`.
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(
    old: *mut u8,
    old_bytes: usize,
    align: usize,
    new_bytes: usize,
) -> *mut u8 {
    if new_bytes == 0 {
        return core::ptr::without_provenance_mut(align);
    }
    // SAFETY: the ABI passes a power of two as `align`, and as `old` either nothing or what this
    // function gave earlier for these very sizes.
    unsafe {
        if old_bytes == 0 {
            alloc(Layout::from_size_align_unchecked(new_bytes, align))
        } else {
            let layout = Layout::from_size_align_unchecked(old_bytes, align);
            realloc(old, layout, new_bytes)
        }
    }
}
