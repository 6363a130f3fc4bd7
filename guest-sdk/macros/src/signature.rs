//! What a task function must look like. Every refusal gives the reason and what to write instead,
//! because the compiler's own message would point into generated code.

use syn::spanned::Spanned;
use syn::{FnArg, ItemFn, ReturnType, Safety, Signature, Type};

/// The parts of a task function that the expansion names.
pub(crate) struct TaskSignature {
    /// The type of the only argument.
    pub(crate) input: Type,
    /// The type returned; `None` for a function without an arrow.
    pub(crate) output: Option<Type>,
}

impl TaskSignature {
    /// Checks the function and takes it apart; all mistakes are reported at once.
    pub(crate) fn of(function: &ItemFn) -> syn::Result<Self> {
        let signature = &function.sig;
        let mut errors = Errors::default();
        check_qualifiers(signature, &mut errors);
        let input = check_input(signature, &mut errors);
        let output = check_output(signature, &mut errors);
        errors.finish()?;
        Ok(Self {
            input: input.expect("a missing input is one of the errors"),
            output,
        })
    }
}

fn check_qualifiers(signature: &Signature, errors: &mut Errors) {
    if let Some(token) = &signature.asyncness {
        errors.push(token, "a task runs to its end in one call: remove `async`");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        errors.push(token, "a task is called by the host: it cannot be `unsafe`");
    }
    if let Some(abi) = &signature.abi {
        errors.push(abi, "a task is an ordinary Rust function: remove `extern`");
    }
    if !signature.generics.params.is_empty() {
        errors.push(
            &signature.generics,
            "a task has no generic parameters: the host calls it with one type of input",
        );
    }
}

fn check_input(signature: &Signature, errors: &mut Errors) -> Option<Type> {
    let mut inputs = signature.inputs.iter();
    let Some(first) = inputs.next() else {
        errors.push(
            &signature.ident,
            "a task takes its input as one argument; write `_input: ()` if it needs none",
        );
        return None;
    };
    if let Some(second) = inputs.next() {
        errors.push(
            second,
            "a task takes one argument: put the fields into a struct",
        );
    }
    let argument = match first {
        FnArg::Receiver(receiver) => {
            errors.push(
                receiver,
                "a task is a free function, not a method: it has no `self`",
            );
            return None;
        }
        FnArg::Typed(argument) => argument,
    };
    if let Type::ImplTrait(ty) = argument.ty.as_ref() {
        errors.push(ty, "name the input's type: `impl Trait` is generic");
    }
    if let Type::Reference(ty) = argument.ty.as_ref() {
        errors.push(
            ty,
            "the input is handed over: take it by value, not by reference",
        );
    }
    Some(argument.ty.as_ref().clone())
}

fn check_output(signature: &Signature, errors: &mut Errors) -> Option<Type> {
    match &signature.output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => {
            if let Type::ImplTrait(opaque) = ty.as_ref() {
                errors.push(
                    opaque,
                    "name the output's type: its schema is part of the module",
                );
            }
            Some(ty.as_ref().clone())
        }
    }
}

/// Errors collected so that one compilation shows them all.
#[derive(Default)]
struct Errors(Option<syn::Error>);

impl Errors {
    fn push(&mut self, place: impl Spanned, message: &str) {
        let error = syn::Error::new(place.span(), message);
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
