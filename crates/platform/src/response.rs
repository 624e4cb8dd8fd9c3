//! The response envelope of every endpoint.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::PlatformError;
use super::connectors::ConfigError;

/// Response envelope with its status code.
#[derive(Debug)]
pub(super) struct ApiResponse {
    code: StatusCode,
    status: &'static str,
    message: String,
    data: Value,
    header: Option<(&'static str, &'static str)>,
    special: Option<Box<Special>>,
}

/// A deviation from the usual body.
#[derive(Debug)]
enum Special {
    /// A field next to `data`.
    Field(&'static str, Value),
    /// A body without an envelope.
    Plain(Value),
}

impl ApiResponse {
    pub(super) fn success(message: impl Into<String>, data: Value) -> Self {
        Self {
            code: StatusCode::OK,
            status: "success",
            message: message.into(),
            data,
            header: None,
            special: None,
        }
    }

    /// The request was carried out and has an error to report.
    pub(super) fn failure(message: impl Into<String>, data: Value) -> Self {
        Self { status: "error", ..Self::success(message, data) }
    }

    /// A name exists already, and nothing was changed.
    pub(super) fn conflict(message: impl Into<String>, data: Value) -> Self {
        Self { code: StatusCode::CONFLICT, status: "conflict", ..Self::failure(message, data) }
    }

    pub(super) fn refused(code: StatusCode, message: impl Into<String>) -> Self {
        Self { code, ..Self::failure(message, Value::Null) }
    }

    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::refused(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    pub(super) fn with_data(self, data: Value) -> Self {
        Self { data, ..self }
    }

    /// A body without an envelope, for a protocol with its own.
    pub(super) fn plain(body: Value) -> Self {
        Self { special: Some(Box::new(Special::Plain(body))), ..Self::success("", Value::Null) }
    }

    /// Adds a field next to `data`.
    pub(super) fn with_field(self, name: &'static str, value: Value) -> Self {
        Self { special: Some(Box::new(Special::Field(name, value))), ..self }
    }

    pub(super) fn into_message(self) -> String {
        self.message
    }

    /// Returns the data of a success.
    pub(super) fn into_data(self) -> Result<Value, Self> {
        if self.status == "success" { Ok(self.data) } else { Err(self) }
    }

    pub(super) fn with_header(self, name: &'static str, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }
}

impl From<PlatformError> for ApiResponse {
    fn from(error: PlatformError) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        tracing::error!(%error, cause, "a call to the local platform failed");
        Self::refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<ConfigError> for ApiResponse {
    fn from(unfit: ConfigError) -> Self {
        Self::unprocessable(unfit.into_message())
    }
}

impl IntoResponse for ApiResponse {
    fn into_response(self) -> Response {
        let mut body = json!({ "status": self.status, "message": self.message, "data": self.data });
        match self.special.map(|special| *special) {
            None => {}
            Some(Special::Field(name, value)) => body[name] = value,
            Some(Special::Plain(plain)) => body = plain,
        }
        let mut response = json_response(self.code, body.to_string());
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

pub(super) fn json_response(code: StatusCode, body: String) -> Response {
    (code, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}
