//! What the brackets of `#[task(…)]` may hold, and the summary taken from a doc comment. It
//! knows nothing of the function below.

use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Token};

/// The options of one `#[task]`.
#[derive(Default)]
pub(crate) struct Options {
    summary: Option<LitStr>,
}

impl Options {
    /// The module's summary: the option, else the doc comment's first paragraph, else the name.
    pub(crate) fn summary(&self, attributes: &[Attribute], name: &Ident) -> String {
        match &self.summary {
            Some(text) => text.value(),
            None => first_paragraph(attributes).unwrap_or_else(|| name.to_string()),
        }
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            if key != "summary" {
                return Err(syn::Error::new(
                    key.span(),
                    format!("unknown option `{key}`; `#[task]` knows `summary = \"…\"`"),
                ));
            }
            input.parse::<Token![=]>()?;
            let text: LitStr = input.parse()?;
            if options.summary.replace(text).is_some() {
                return Err(syn::Error::new(key.span(), "`summary` is given twice"));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

/// The lines of a doc comment up to its first empty line, joined by spaces.
fn first_paragraph(attributes: &[Attribute]) -> Option<String> {
    let paragraph = attributes
        .iter()
        .filter_map(doc_text)
        .flat_map(|text| {
            text.lines()
                .map(|line| line.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .skip_while(String::is_empty)
        .take_while(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    (!paragraph.is_empty()).then_some(paragraph)
}

fn doc_text(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    if !pair.path.is_ident("doc") {
        return None;
    }
    let Expr::Lit(ExprLit {
        lit: Lit::Str(text),
        ..
    }) = &pair.value
    else {
        return None;
    };
    // An empty `///` has no line of its own in `str::lines`, and it ends the paragraph.
    Some(if text.value().is_empty() {
        "\n".to_owned()
    } else {
        text.value()
    })
}
