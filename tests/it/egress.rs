//! Requests of guests to other machines, through the real binary: modules in the host's process and in one of
//! their own, and code.

mod code;
mod modules;
pub(crate) mod names;
mod secrets;
mod server;

use self::server::Server;

/// What an operator lists so that guests may reach a server of this machine.
fn allowing(server: &Server, more: &str) -> String {
    let port = server.port();
    format!(
        "[egress]\nallow = [\"127.0.0.1:{port}\", \"localhost:{port}\", \"*.example:{port}\", \"127.0.0.3:{port}\"]\n\
         allow_private = [\"127.0.0.1\", \"::1\"]\n{more}\n"
    )
}
