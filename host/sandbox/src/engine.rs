//! The engines, and why each switch is set.
//!
//! The same configuration compiles (in the child process) and runs (here), so both are built from
//! [`engine_config`]; wasmtime refuses compiled code made under another one.

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::EngineClass;

/// The settings that decide which code an engine makes and accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EngineShape {
    /// The class.
    pub(crate) class: EngineClass,
    /// A guest's stack.
    pub(crate) stack_bytes: usize,
}

/// The part of the configuration that compiling and running must agree on.
pub(crate) fn engine_config(shape: EngineShape) -> Config {
    let mut config = Config::new();
    config
        .strategy(wasmtime::Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(shape.class.is_checked())
        .max_wasm_stack(shape.stack_bytes)
        // Host calls run on the guest's fiber as well and need the difference.
        .async_stack_size(shape.stack_bytes + 1536 * 1024)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20))
        .memory_init_cow(true)
        // C++ compiles its exceptions to this; large real programs need it. The objects that a
        // guest throws live in a heap of the engine, which the run's memory limit counts as well.
        .wasm_exceptions(true)
        // They are compiled in because builds without them can abort, and off because no guest
        // needs them.
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_threads(false)
        .shared_memory(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_component_model(true)
        .concurrency_support(false);
    match shape.class {
        EngineClass::Fast | EngineClass::Interpreter | EngineClass::Unchecked => {}
        EngineClass::Metered => {
            config
                .consume_fuel(true)
                .cranelift_nan_canonicalization(true);
        }
    }
    config
}

/// Core instances in one store. CPython as a component is more than ten.
pub(crate) const INSTANCES_MAX: u32 = 64;

/// Linear memories in one store.
pub(crate) const MEMORIES_MAX: u32 = 16;

/// Tables in one store.
pub(crate) const TABLES_MAX: u32 = 64;

/// Linear memories of one slot of the pool.
pub(crate) const MEMORIES_PER_SLOT: u32 = 2;

/// Tables of one slot of the pool.
pub(crate) const TABLES_PER_SLOT: u32 = 4;

/// Slots beyond those that are admitted, for stores that are being taken apart.
const SPARE_SLOTS: u32 = 8;

/// The most elements that one table may have; room for them costs only address space.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 1_000_000;

/// Free slots of the pool that keep memory from their last guest.
pub(crate) const WARM_SLOTS_MAX: u32 = 16;

/// The sizes of the pool that instances come from.
pub(crate) fn pooling(
    instances_max: u32,
    keep_resident_bytes: usize,
) -> InstanceAllocationStrategy {
    let slots = instances_max.saturating_add(SPARE_SLOTS);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        // This is only a count, so every slot may hold the most that a component may have.
        .total_core_instances(slots.saturating_mul(INSTANCES_MAX))
        .total_memories(slots.saturating_mul(MEMORIES_PER_SLOT))
        .total_tables(slots.saturating_mul(TABLES_PER_SLOT))
        .total_stacks(slots)
        .max_core_instances_per_component(INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_memories_per_module(MEMORIES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .max_memory_size(4 << 30)
        .table_elements(TABLE_ELEMENTS_MAX)
        // A slot's resident memory outlives a burst, so these bound the host's idle memory. Short
        // guests run one at a time on each thread and need few.
        .max_unused_warm_slots(WARM_SLOTS_MAX)
        .linear_memory_keep_resident(keep_resident_bytes)
        .table_keep_resident(64 * 1024)
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
}
