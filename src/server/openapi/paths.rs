//! The document: every route's path, and the schemas of bodies and answers by their names.

use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, PathItem, PathItemBuilder, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::ComponentsBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, Required, ResponseBuilder,
    SecurityRequirement,
};

use super::answers::{ANTHROPIC_ERROR, ERROR};
use super::routes::{Answer, ROUTES, Route};
use super::schema;

const KEY: &str = "key";

/// The statuses of refusals and failures, and when they come.
const FAILURES: &[(&str, &str)] = &[
    ("400", "A field does not do; the error names it"),
    ("401", "A key is needed, or this one is not known"),
    ("404", "There is no such model here"),
    ("408", "The body took too long to come"),
    ("413", "The body is too large"),
    (
        "429",
        "There is too much to do; Retry-After says when to come back",
    ),
    ("500", "Something failed that should not"),
    ("503", "The server is not ready, or stops"),
    ("504", "The deadline passed before the first token"),
];

/// The whole description.
pub(super) fn document() -> OpenApi {
    let mut components = ComponentsBuilder::new()
        .schema("Error", schema::of(&ERROR))
        .schema("AnthropicError", schema::of(&ANTHROPIC_ERROR))
        .security_scheme(
            KEY,
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
        );
    let mut paths = PathsBuilder::new();
    for route in ROUTES {
        if let Some((name, tables)) = route.request {
            components = components.schema(name, schema::object(tables.iter().copied()));
        }
        components = match &route.answer {
            Answer::Json(name, form) => components.schema(*name, schema::of(form)),
            Answer::Streamed(name, form, event, data) => components
                .schema(*name, schema::of(form))
                .schema(*event, schema::of(data)),
            Answer::Other(_) => components,
        };
        paths = paths.path(route.path, path(route));
    }
    let info = InfoBuilder::new()
        .title("flambeau")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "A self-hosted inference server for open models. Every answer has its request's id in x-request-id. `null` counts as absent in requests.",
        ));
    OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components.build()))
        // Where no keys are configured, none is needed.
        .security(Some([
            SecurityRequirement::new(KEY, Vec::<String>::new()),
            SecurityRequirement::default(),
        ]))
        .build()
}

fn path(route: &Route) -> PathItem {
    let reference = |name: &str| Ref::from_schema_name(name);
    let json = |name: &str| ContentBuilder::new().schema(Some(reference(name))).build();
    let mut ok = ResponseBuilder::new().description("The answer");
    ok = match &route.answer {
        Answer::Json(name, _) => ok.content("application/json", json(name)),
        Answer::Streamed(name, _, event, _) => ok
            .description(format!(
                "The answer; with `stream`, events whose data are each a {event}"
            ))
            .content("application/json", json(name))
            .content("text/event-stream", ContentBuilder::new().build()),
        Answer::Other(kind) => ok.content(*kind, ContentBuilder::new().build()),
    };
    let mut operation = OperationBuilder::new()
        .summary(Some(route.summary))
        .operation_id(Some(operation_id(route)))
        .response("200", ok);
    for (status, when) in FAILURES {
        let failure = ResponseBuilder::new()
            .description(*when)
            .content("application/json", json(route.error));
        operation = operation.response(*status, failure);
    }
    if let Some((name, _)) = route.request {
        let body = RequestBodyBuilder::new()
            .content("application/json", json(name))
            .required(Some(Required::True));
        operation = operation.request_body(Some(body.build()));
    }
    let method = match route.method {
        "post" => HttpMethod::Post,
        _ => HttpMethod::Get,
    };
    PathItemBuilder::new().operation(method, operation).build()
}

/// `post_v1_chat_completions`.
fn operation_id(route: &Route) -> String {
    format!("{}{}", route.method, route.path.replace(['/', '.'], "_"))
}
