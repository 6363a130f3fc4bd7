//! What `#[task]` generates: the function unchanged, a type of the same name that implements
//! `Task`, and the export. The conversions are calls into `cofferdam-guest`.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Item, ItemFn, Type, parse_quote};

use crate::options::Options;
use crate::signature::TaskSignature;

/// Expands the attribute; errors become `compile_error!` beside the untouched function, so that
/// one mistake gives one message.
pub(crate) fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let function = match function_of(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            let error = error.to_compile_error();
            return quote!(#item #error);
        }
    };
    let parts = syn::parse2::<Options>(attribute)
        .and_then(|options| Ok((options, TaskSignature::of(&function)?)));
    match parts {
        Ok((options, signature)) => {
            let summary = options.summary(&function.attrs, &function.sig.ident);
            let task = implementation(&function, &signature, &summary);
            quote!(#function #task)
        }
        Err(error) => {
            let error = error.to_compile_error();
            quote!(#function #error)
        }
    }
}

fn function_of(item: TokenStream) -> syn::Result<ItemFn> {
    let Item::Fn(function) = syn::parse2::<Item>(item.clone())? else {
        return Err(syn::Error::new_spanned(
            item,
            "`#[task]` belongs on a function",
        ));
    };
    Ok(function)
}

fn implementation(function: &ItemFn, signature: &TaskSignature, summary: &str) -> TokenStream {
    let (name, visibility) = (&function.sig.ident, &function.vis);
    let unit: Type = parse_quote!(());
    let input = &signature.input;
    let output = signature.output.as_ref().unwrap_or(&unit);
    let decode = quote_spanned! {input.span()=>
        <#input as ::cofferdam_guest::Input>::decode(payload)?
    };
    let encode = quote_spanned!(output.span()=> returned.outcome());
    let input_schema =
        quote_spanned!(input.span()=> <#input as ::cofferdam_guest::Input>::schema());
    let output_schema = quote_spanned!(output.span()=> returned.schema());
    let only = Ident::new("__COFFERDAM_A_CRATE_HAS_ONE_TASK", name.span());
    quote! {
        #[doc(hidden)]
        #[allow(non_camel_case_types, clippy::empty_enums)]
        #visibility enum #name {}

        #[doc(hidden)]
        #[allow(dead_code)]
        const #only: () = ();

        #[automatically_derived]
        impl ::cofferdam_guest::Task for #name {
            fn describe() -> ::cofferdam_guest::Descriptor {
                #[allow(unused_imports)]
                use ::cofferdam_guest::__private::PlainType as _;
                let returned =
                    ::cofferdam_guest::__private::ReturnType::<#output>(::core::marker::PhantomData);
                ::cofferdam_guest::Descriptor {
                    summary: ::core::convert::Into::into(#summary),
                    input_schema: #input_schema,
                    output_schema: #output_schema,
                }
            }

            fn run(
                payload: ::cofferdam_guest::Payload,
            ) -> ::core::result::Result<::cofferdam_guest::Payload, ::cofferdam_guest::Failure> {
                #[allow(unused_imports)]
                use ::cofferdam_guest::__private::PlainValue as _;
                let input = #decode;
                let returned = ::cofferdam_guest::__private::Returned(#name(input));
                #encode
            }
        }

        ::cofferdam_guest::__export_task!(#name);
    }
}
