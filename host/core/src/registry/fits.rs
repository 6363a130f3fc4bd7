//! What can never be passed from one module to another, as far as their schemas tell.

use super::Registry;
use crate::registry::schema::fit::Passed;
use cofferdam_domain::module::ModuleInfo;
use cofferdam_domain::step::Step;

impl Registry {
    /// Why what one module gives can never be what another takes at a place of its input, or never a list; none if it
    /// could be, if a schema says nothing, or if that cannot be told now.
    pub(crate) async fn never_fits(
        &self,
        gives: &ModuleInfo,
        passed: Passed<'_>,
        takes: Option<(&ModuleInfo, &[Step])>,
    ) -> Option<String> {
        let output = gives.descriptor.as_ref()?.output_schema.as_deref()?;
        let takes = match takes {
            None => None,
            Some((info, place)) => {
                let input = info.descriptor.as_ref()?.input_schema.as_deref()?;
                Some((info.digest, input, place))
            }
        };
        let gives = (gives.digest, output);
        self.schemas.never_fits(gives, passed, takes).await
    }
}
