//! Paginated HTTP APIs that return JSON; never leaves the API's origin.
//!
//! A read changes rows only if every page contained records and the last page was recognised. An
//! error in a response, or a sign of pages that cannot be followed, fails the read.

mod address;
mod answer;
mod clients;
mod errors;
mod fetch;
mod names;
mod paging;
mod reasons;
mod signs;
mod values;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

pub(super) use clients::Clients;

use super::changes::{Changes, RecordKey, Watermark};
use super::exact::record;
use super::json::JsonShape;
use super::records::{Flow, for_each_record};
use super::{
    ConfigError, ConfigFields, Connector, ConnectorContext, ReadError, ReadOptions, RecordMemory, RowSink,
    SourceTable,
};
use answer::{BodyForm, HttpBody};
use fetch::{Calls, Fetched};
use paging::{PageContent, PageOrder, PageWalk, Paging};
use signs::Signs;

/// Minimum length of a secret in bytes.
///
/// Shorter ones would withhold messages that contain them by chance.
const MIN_SECRET_LEN: usize = 4;

/// Reads the configuration.
///
/// Fields: `base_url`; `path` (or `endpoint`), `params`, `headers`; `token`, `api_key` (and
/// `api_key_header`) or `username` and `password`; `records`, `next` (JSON pointers), `next_param`,
/// `page_param`, `page_size_param`, `cursor_param`, `first_page`, `max_pages`; `ignore`,
/// `null_is_empty`; `key`; `table`.
pub(super) fn open(
    fields: ConfigFields<'_>,
    reach: &ConnectorContext,
) -> Result<Box<dyn Connector>, ConfigError> {
    if fields.text("method")?.is_some_and(|method| !method.eq_ignore_ascii_case("get")) {
        return Err(ConfigError::new("\"method\" can be GET only"));
    }
    if fields.text("format")?.is_some_and(|format| !format.eq_ignore_ascii_case("json")) {
        return Err(ConfigError::new("\"format\" can be json only"));
    }
    let url = address::address(fields)?;
    let last = url.path_segments().and_then(|mut parts| parts.rfind(|part| !part.is_empty()));
    let table = match fields.text("table")? {
        Some(table) => table.to_owned(),
        None => last.unwrap_or("records").to_owned(),
    };
    let (headers, mut secrets) = headers(fields)?;
    let params = fields.pairs("params")?;
    let secret = params.iter().filter(|(name, _)| is_credential_name(name)).map(|(_, value)| value.clone());
    secrets.extend(secret.chain(url.password().map(str::to_owned)));
    secrets.retain(|secret| secret.len() >= MIN_SECRET_LEN);
    let own_accept = headers.get("accept").is_some_and(|accept| accept == fetch::ACCEPT_HEADER);
    Ok(Box::new(HttpConnector {
        headers,
        default_accept: own_accept,
        secrets,
        params,
        records: fields.record_pointer("records")?,
        cursor_param: fields.text("cursor_param")?.map(str::to_owned),
        null_is_empty: fields.flag("null_is_empty")?.unwrap_or(false),
        key: RecordKey::read(fields)?,
        paging: Paging::read(fields)?,
        reach: reach.clone(),
        url,
        table,
    }))
}

struct HttpConnector {
    url: Url,
    headers: HeaderMap,
    /// True if the configuration has no `Accept` header.
    default_accept: bool,
    secrets: Vec<String>,
    params: Vec<(String, String)>,
    records: Option<Vec<String>>,
    /// Parameter that sends the position of the last sync to the API.
    cursor_param: Option<String>,
    null_is_empty: bool,
    key: RecordKey,
    table: String,
    paging: Paging,
    reach: ConnectorContext,
}

#[derive(Serialize, Deserialize)]
struct HttpPosition {
    #[serde(flatten)]
    watermark: Watermark,
    /// True if the records were in a list.
    #[serde(default)]
    list: bool,
}

impl Connector for HttpConnector {
    fn test(&self) -> Result<String, ReadError> {
        let mut count = 0_u64;
        let course = self.first_page(&mut |_| {
            count += 1;
            Ok(Flow::Continue)
        })?;
        let more = match course {
            PageOrder::End => ", and reports no other",
            PageOrder::SinglePage => ", and mentions no other",
            PageOrder::Next(_) => " of several",
        };
        Ok(format!("the API answered: {count} records on the first page{more}"))
    }

    fn schema(&self) -> Result<Vec<SourceTable>, ReadError> {
        let mut shape = JsonShape::default();
        self.first_page(&mut |raw| {
            shape.add(&record(raw).map_err(|error| malformed_record(&error))?);
            Ok(Flow::Continue)
        })?;
        Ok(vec![shape.table(&self.table)])
    }

    fn read(&self, options: &ReadOptions, intake: &mut dyn RowSink) -> Result<Value, ReadError> {
        let parsed = |position: &Value| serde_json::from_value::<HttpPosition>(position.clone()).ok();
        let was_list = options.last_position.as_ref().and_then(parsed).is_some_and(|position| position.list);
        let mut changes = Changes::resume(options.position(), &self.table, &self.key, options);

        let mut url = self.start(Some(options.batch_size));
        if let (Some(name), Some(last)) = (&self.cursor_param, changes.mark()) {
            address::set(&mut url, name, &last);
        }
        let mut calls = Calls::for_sync(&self.reach, &self.headers, self.default_accept, &self.secrets);
        let mut walk = PageWalk::after(was_list);
        let mut memory = RecordMemory::new(&self.reach);
        loop {
            let course = self.page(&mut calls, &mut walk, &url, &mut |raw| {
                memory.hold(raw.get().len())?;
                changes.record(record(raw).map_err(|error| malformed_record(&error))?, intake)?;
                Ok(Flow::Continue)
            })?;
            match course {
                PageOrder::Next(next) => url = *next,
                PageOrder::End | PageOrder::SinglePage => break,
            }
        }
        let Some(watermark) = changes.finish(intake)? else { return Ok(options.same_position()) };
        let list = walk.is_list();
        Ok(serde_json::to_value(HttpPosition { watermark, list }).unwrap_or(Value::Null))
    }
}

impl HttpConnector {
    /// Returns the URL of the first page.
    fn start(&self, size: Option<usize>) -> Url {
        let mut url = self.url.clone();
        for (name, value) in &self.params {
            address::set(&mut url, name, value);
        }
        self.paging.set_first_page(&mut url, size);
        url
    }

    /// Calls `take` with the records of the first page, for an interactive request.
    fn first_page(
        &self,
        take: &mut dyn FnMut(&RawValue) -> Result<Flow, ReadError>,
    ) -> Result<PageOrder, ReadError> {
        let mut calls = Calls::for_inspection(&self.reach, &self.headers, self.default_accept, &self.secrets);
        self.page(&mut calls, &mut PageWalk::default(), &self.start(None), take)
    }

    /// Fetches a page, calls `take` for each record and returns the next page.
    fn page(
        &self,
        calls: &mut Calls<'_>,
        walk: &mut PageWalk,
        url: &Url,
        take: &mut dyn FnMut(&RawValue) -> Result<Flow, ReadError>,
    ) -> Result<PageOrder, ReadError> {
        self.paging.record_request(walk, url)?;
        let page = match calls.fetch(url)? {
            Fetched::Page(page) => page,
            Fetched::NoContent => return self.paging.end(walk),
            Fetched::NotFound(_) if self.paging.is_by_number() && walk.pages > 0 => {
                return self.paging.end(walk);
            }
            Fetched::NotFound(failure) => return Err(failure),
        };
        let answer = HttpBody::find(&page.body, self.records.as_deref(), &self.paging.ignored)
            .map_err(|failure| ReadError::new(calls.redact(&failure.into_message())))?;
        let mut signs = Signs::read(&page.headers, &answer.siblings, &answer.place, &self.paging.ignored);
        signs.add_status(page.partial, &self.paging.ignored);
        self.check_records(&answer, &signs, walk)?;
        let (count, ids) = self.contents(&answer)?;
        signs.distrust_page_count(count);
        if let Some(words) = answer.only_error(&self.paging.ignored) {
            let words = calls.redact(&words);
            return Err(ReadError::new(format!(
                "the API answered with an error in place of records: {words}"
            )));
        }
        if count == 0
            && let Some(words) = errors::incomplete_reason(&answer.siblings)
        {
            let words = calls.redact(&words);
            return Err(ReadError::new(format!("the API answered with no records: {words}")));
        }
        let content = PageContent { digest: PageContent::digest(answer.records), count, ids };
        if !self.paging.admit(walk, &content)? {
            return Ok(PageOrder::End);
        }
        for_each_record(answer.records.get().as_bytes(), &[], &mut |raw| take(&raw))?
            .map_err(|error| malformed_record(&error))?;
        self.paging.after(walk, &page, content, &signs)
    }

    /// Verifies that the content is known to be records.
    fn check_records(
        &self,
        answer: &HttpBody<'_>,
        signs: &Signs,
        walk: &mut PageWalk,
    ) -> Result<(), ReadError> {
        let place = answer.place.join("/");
        let form = answer.form();
        walk.check_same_location(&answer.place, form)?;
        match form {
            BodyForm::Null
                if self.null_is_empty || signs.total.as_ref().is_some_and(|(_, total)| *total == 0) =>
            {
                Ok(())
            }
            BodyForm::Null => {
                let words = errors::incomplete_reason(&answer.siblings)
                    .map(|words| format!(": {words}"))
                    .unwrap_or_default();
                Err(ReadError::new(format!(
                    "the API answered null where records are expected (/{place}){words}; \
                     null_is_empty = true takes null for an empty list"
                )))
            }
            BodyForm::One if self.paging.is_by_number() => Err(ReadError::new(
                "the API answered with one object, which has no pages; write records = with the place of the list in it",
            )),
            BodyForm::One if walk.was_list && self.records.is_none() => {
                Err(ReadError::new("the API answered with one object, and with a list at the last sync"))
            }
            BodyForm::One | BodyForm::List => Ok(()),
        }
    }

    /// Returns the number of records, and their identities if all of a list have one.
    fn contents(&self, answer: &HttpBody<'_>) -> Result<(u64, Vec<[u8; 32]>), ReadError> {
        // With a key, a record that occurs twice counts once.
        let wanted = self.key.is_empty();
        let (mut count, mut ids) = (0_u64, Vec::new());
        for_each_record(answer.records.get().as_bytes(), &[], &mut |raw| {
            count += 1;
            if wanted {
                #[derive(Deserialize)]
                struct IdentifiedRecord<'a> {
                    #[serde(borrow)]
                    id: &'a RawValue,
                }
                let id = serde_json::from_str::<IdentifiedRecord<'_>>(raw.get()).ok();
                ids.extend(id.map(|row| <[u8; 32]>::from(Sha256::digest(row.id.get()))));
            }
            Ok(Flow::Continue)
        })?
        .map_err(|error| malformed_record(&error))?;
        let mut distinct = ids.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if ids.len() as u64 != count || distinct.len() != ids.len() {
            ids.clear();
        }
        Ok((count, ids))
    }
}

/// Returns the headers of every request, and the secrets in them.
///
/// Headers with credentials are marked sensitive, so that the client never shows them.
fn headers(fields: ConfigFields<'_>) -> Result<(HeaderMap, Vec<String>), ConfigError> {
    use base64::Engine as _;
    let mut headers = HeaderMap::new();
    let mut secrets = Vec::new();
    let mut put = |field: &str, name: &str, value: &str| -> Result<(), ConfigError> {
        let unfit = || ConfigError::new(format!("\"{field}\" cannot be sent as an HTTP header"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| unfit())?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    };
    put("accept", "accept", fetch::ACCEPT_HEADER)?;
    put("accept-encoding", "accept-encoding", "gzip")?;
    for (name, value) in fields.pairs("headers")? {
        put("headers", &name, &value)?;
        if is_credential_name(&name) {
            secrets.extend(value.split(' ').map(str::to_owned));
        }
    }
    let name = fields.text("api_key_header")?.unwrap_or("X-API-Key");
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(ConfigError::new("\"api_key_header\" is not the name of an HTTP header"));
    }
    if let Some(key) = fields.text("api_key")? {
        put("api_key", name, key)?;
        secrets.push(key.to_owned());
    }
    let (user, password) = (fields.text("username")?, fields.text("password")?);
    if let Some(token) = fields.text("token")? {
        put("token", "authorization", &format!("Bearer {token}"))?;
        secrets.push(token.to_owned());
    } else if let Some(user) = user {
        let pair = format!("{user}:{}", password.unwrap_or_default());
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        put("username", "authorization", &format!("Basic {pair}"))?;
        secrets.push(pair);
    }
    secrets.extend(password.map(str::to_owned));
    Ok((headers, secrets))
}

/// Returns true if a header or parameter of this name contains credentials.
fn is_credential_name(name: &str) -> bool {
    let name = names::normalize(name);
    ["key", "token", "secret", "auth", "password", "pass", "cookie", "signature", "sig", "authorization"]
        .iter()
        .any(|end| name.ends_with(end))
}

fn malformed_record(error: &serde_json::Error) -> ReadError {
    // Position only: the parser's message may quote the response.
    let (line, column) = (error.line(), error.column());
    ReadError::new(format!(
        "a record of the API is not JSON that a row can hold (line {line}, column {column})"
    ))
}
