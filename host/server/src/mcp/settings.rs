//! `[mcp]`: the endpoint for agents.

/// The section.
#[derive(Clone, Debug)]
pub struct McpConfig {
    /// Sessions at once. Where there are so many, a new one takes the place of the one that has been
    /// unused for longest, or is refused if a call runs in each.
    pub sessions_max: usize,
}

impl Default for McpConfig {
    fn default() -> McpConfig {
        McpConfig { sessions_max: 1024 }
    }
}
