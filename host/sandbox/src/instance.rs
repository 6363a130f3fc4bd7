//! One fresh store with every limit armed, and the call into the guest.
//!
//! A store is used for one instance and one call and then dropped, whatever happened. Only a session
//! calls the same instance again.

use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::I32Exit;

use crate::EngineClass;
use crate::interfaces::handler::{self, Refusal, Task};
use crate::load::Program;
use crate::state::GuestState;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::Descriptor;

/// The epoch callback found the CPU budget used up.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the CPU time is used up")]
pub(crate) struct CpuExhausted;

/// Epoch ticks until a guest first yields its thread: at least one whole tick.
const FIRST_SLICE_TICKS: u64 = 2;

/// Epoch ticks of each further slice.
const SLICE_TICKS: u64 = 1;

/// Bytes that a result may take besides its body, so that a body just above its limit is still read
/// and its exact length reported.
const OUTPUT_SLACK_BYTES: u64 = 64 * 1024;

/// The kind of call.
pub(crate) enum Call<'a> {
    /// The work.
    Run(&'a Payload),
    /// To describe itself. A command does not describe itself.
    Describe,
}

/// How the guest answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A task module's result.
    Output(Payload),
    /// A task module's own failure.
    Refused(Refusal),
    /// A command's exit code, or that of a task module that exited without an answer.
    Exited(i32),
    /// A task module's description.
    Described(Descriptor),
    /// A command was asked to describe itself.
    Undescribed,
}

/// The guest did not answer.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) stage: Stage,
    pub(crate) error: wasmtime::Error,
}

/// How far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Making the instance, start functions included.
    Instantiate,
    /// The call itself.
    Call,
}

/// A store whose guest has not started.
pub(crate) fn store(
    engine: &Engine,
    class: EngineClass,
    limits: &Limits,
    state: GuestState,
) -> Store<GuestState> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limiter);
    let hostcall_bytes = limits
        .hostcall_bytes
        .max(limits.output_bytes + OUTPUT_SLACK_BYTES);
    store.set_hostcall_fuel(usize::try_from(hostcall_bytes).unwrap_or(usize::MAX));
    store.set_max_component_handles(limits.handles as usize);
    match class {
        EngineClass::Fast | EngineClass::Interpreter | EngineClass::Unchecked => {}
        EngineClass::Metered => store
            .set_fuel(limits.fuel.unwrap_or(u64::MAX))
            .expect("the metered engine counts fuel"),
    }
    if class.is_checked() {
        yield_at_ticks(&mut store);
        begin_slice(&mut store);
    }
    store
}

/// Makes the guest yield its thread at every tick, and ends it there once its CPU time is used up.
fn yield_at_ticks(store: &mut Store<GuestState>) {
    store.epoch_deadline_callback(|context| {
        let meter = &context.data().meter;
        meter.mark_long();
        let used = meter.used_with_open_slice();
        if used > meter.allowed() {
            return Err(CpuExhausted.into());
        }
        Ok(UpdateDeadline::YieldCustom(
            SLICE_TICKS,
            Box::pin(tokio::task::yield_now()),
        ))
    });
}

/// Gives the guest its first slice of a call.
pub(crate) fn begin_slice(store: &mut Store<GuestState>) {
    store.set_epoch_deadline(FIRST_SLICE_TICKS);
}

/// The instance of a guest that is kept.
pub(crate) struct Instance(Task);

/// Makes the instance of a guest that will be called more than once.
pub(crate) async fn keep(
    store: &mut Store<GuestState>,
    program: &Program,
) -> Result<Instance, Fault> {
    match program {
        Program::Task(handler) => {
            let task = handler.instantiate(store).await;
            task.map(Instance).map_err(at(Stage::Instantiate))
        }
        Program::Command(_) | Program::Core(..) => Err(Fault {
            stage: Stage::Instantiate,
            error: wasmtime::Error::msg("a command is called once"),
        }),
    }
}

/// Calls a guest that is kept.
pub(crate) async fn call_kept(
    store: &mut Store<GuestState>,
    instance: &Instance,
    input: &Payload,
) -> Result<Answer, Fault> {
    let answered = handler::run(&instance.0, store, input).await;
    left(answer_of(answered))
}

/// Instantiates `program` and makes the call.
pub(crate) async fn call(
    store: &mut Store<GuestState>,
    program: &Program,
    call: Call<'_>,
) -> Result<Answer, Fault> {
    left(answer(store, program, call).await)
}

/// An exit is an error in wasmtime, because it has to unwind the guest's stack.
fn left(answer: Result<Answer, Fault>) -> Result<Answer, Fault> {
    answer.or_else(|fault| match fault.error.downcast_ref::<I32Exit>() {
        Some(I32Exit(code)) => Ok(Answer::Exited(*code)),
        None => Err(fault),
    })
}

fn answer_of(answered: wasmtime::Result<Result<Payload, Refusal>>) -> Result<Answer, Fault> {
    match answered {
        Ok(Ok(output)) => Ok(Answer::Output(output)),
        Ok(Err(refusal)) => Ok(Answer::Refused(refusal)),
        Err(error) => Err(at(Stage::Call)(error)),
    }
}

async fn answer(
    store: &mut Store<GuestState>,
    program: &Program,
    call: Call<'_>,
) -> Result<Answer, Fault> {
    match program {
        Program::Task(handler) => {
            let task = handler
                .instantiate(store)
                .await
                .map_err(at(Stage::Instantiate))?;
            match call {
                Call::Run(input) => answer_of(handler::run(&task, store, input).await),
                Call::Describe => handler::describe(&task, store)
                    .await
                    .map(Answer::Described)
                    .map_err(at(Stage::Call)),
            }
        }
        Program::Command(pre) => {
            let Call::Run(_) = call else {
                return Ok(Answer::Undescribed);
            };
            let command = pre
                .instantiate_async(&mut *store)
                .await
                .map_err(at(Stage::Instantiate))?;
            let returned = command.wasi_cli_run().call_run(store).await;
            match returned.map_err(at(Stage::Call))? {
                Ok(()) => Ok(Answer::Exited(0)),
                Err(()) => Ok(Answer::Exited(1)),
            }
        }
        Program::Core(pre, start) => {
            let Call::Run(_) = call else {
                return Ok(Answer::Undescribed);
            };
            let instance = pre
                .instantiate_async(&mut *store)
                .await
                .map_err(at(Stage::Instantiate))?;
            let start = instance
                .get_module_export(&mut *store, start)
                .and_then(|export| export.into_func())
                .ok_or_else(|| wasmtime::Error::msg("_start is not a function"))
                .and_then(|start| start.typed::<(), ()>(&*store))
                .map_err(at(Stage::Call))?;
            start
                .call_async(&mut *store, ())
                .await
                .map_err(at(Stage::Call))?;
            Ok(Answer::Exited(0))
        }
    }
}

fn at(stage: Stage) -> impl Fn(wasmtime::Error) -> Fault {
    move |error| Fault { stage, error }
}
