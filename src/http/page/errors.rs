//! Problems as pages, for whoever asks for the pages with a browser.

use axum::{
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::Response,
};

use super::{super::problem::Told, failed, words};
use crate::http::AppState;

/// Answers a browser's request for a page with a page, also where it fails before or beside its handler.
/// The status and the headers stay.
pub(in crate::http) async fn for_people(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_page = path == "/" || path.starts_with("/page/");
    let accepts = request.headers().get_all(header::ACCEPT).iter();
    let by_person = accepts
        .filter_map(|accepted| accepted.to_str().ok())
        .any(|accepted| accepted.contains("text/html"));
    let mut response = next.run(request).await;
    let told = response.extensions_mut().remove::<Told>();
    let Some(told) = told.filter(|_| is_page && by_person) else {
        return response;
    };
    let detail = words::capital(&told.detail) + ".";
    let page = failed(response.status(), state.clock.now(), told.title, &detail);
    let (mut answer, _) = response.into_parts();
    let (page, body) = page.into_parts();
    answer.headers.remove(header::CONTENT_LENGTH);
    answer.headers.extend(page.headers);
    Response::from_parts(answer, body)
}
