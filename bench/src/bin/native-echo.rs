//! The native peer of `/v1/run/echo`: axum's usual server on tokio's usual runtime, without any
//! sandbox. It prints its address like the host does and runs until it is killed.

use std::net::Ipv4Addr;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::routing::post;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve())
}

async fn serve() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    announce(&format!("listening on http://{}", listener.local_addr()?));
    axum::serve(listener, Router::new().route("/", post(echo))).await?;
    Ok(())
}

async fn echo(headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let content_type = headers.get(header::CONTENT_TYPE).cloned();
    let content_type = content_type
        .unwrap_or_else(|| header::HeaderValue::from_static("application/octet-stream"));
    ([(header::CONTENT_TYPE, content_type)], body)
}

#[expect(clippy::print_stdout, reason = "the address is this program's output")]
fn announce(line: &str) {
    println!("{line}");
}
