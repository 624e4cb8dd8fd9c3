//! HTTP APIs that answer with JSON, page after page, never leaving their origin.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LINK};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde_json::Value;
use serde_json::value::RawValue;

use super::changes::{Changes, Key};
use super::json::Shape;
use super::records::{Flow, each};
use super::row::record;
use super::{Connector, Failure, Fields, Intake, Reach, Reading, Table, Unfit};
use crate::platform::StandIn;

/// One request and its answer.
const ANSWER: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(10);
/// A page is held in memory.
const LARGEST_PAGE: usize = 32 << 20;
/// More pages than this are a mistake of one side, unless `max_pages` says otherwise.
const PAGES: u64 = 10_000;
const MOST_PAGES: u64 = 1_000_000;
/// Where APIs put their records when `records` does not say it.
const USUAL: [&str; 4] = ["data", "items", "results", "records"];

/// The client all connectors share. A redirect is followed within its origin only, so that
/// credentials never travel to someone else.
pub(super) fn client(stand_ins: &[StandIn]) -> Result<Client, reqwest::Error> {
    let within = redirect::Policy::custom(|attempt| {
        let same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
        if same && attempt.previous().len() <= 5 { attempt.follow() } else { attempt.stop() }
    });
    let client =
        stand_ins.iter().fold(Client::builder(), |client, StandIn { host, at }| client.resolve(host, *at));
    client
        .redirect(within)
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .referer(false)
        .user_agent(concat!("wellspring/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// `base_url`, and where one is needed `path` (or `endpoint`), `params`, `headers`; `token`,
/// `api_key` (and `api_key_header`) or `username` and `password`; `records`, `next` (JSON pointers),
/// `next_param`, `page_param`, `page_size_param`, `cursor_param`, `first_page`, `max_pages`; `key`; `table`.
pub(super) fn open(fields: Fields<'_>, reach: &Reach) -> Result<Box<dyn Connector>, Unfit> {
    let url = address(fields)?;
    let last = url.path_segments().and_then(|mut parts| parts.rfind(|part| !part.is_empty()));
    let table = match fields.text("table")? {
        Some(table) => table.to_owned(),
        None => last.unwrap_or("records").to_owned(),
    };
    let paging = Paging {
        next: fields.pointer("next")?,
        next_param: fields.text("next_param")?.map(str::to_owned),
        page_param: fields.text("page_param")?.map(str::to_owned),
        size_param: fields.text("page_size_param")?.map(str::to_owned),
        cursor_param: fields.text("cursor_param")?.map(str::to_owned),
        first: fields.whole("first_page")?.unwrap_or(1),
        most: fields.whole("max_pages")?.unwrap_or(PAGES).clamp(1, MOST_PAGES),
    };
    Ok(Box::new(Http {
        headers: headers(fields)?,
        params: fields.pairs("params")?,
        records: fields.pointer("records")?,
        key: Key::read(fields)?,
        reach: reach.clone(),
        url,
        table,
        paging,
    }))
}

struct Http {
    url: Url,
    headers: HeaderMap,
    params: Vec<(String, String)>,
    records: Option<Vec<String>>,
    key: Key,
    table: String,
    paging: Paging,
    reach: Reach,
}

/// How an API tells its next page, beside the `Link` header.
struct Paging {
    next: Option<Vec<String>>,
    next_param: Option<String>,
    page_param: Option<String>,
    size_param: Option<String>,
    /// By which the API is told where the last sync came to.
    cursor_param: Option<String>,
    first: u64,
    most: u64,
}

/// One answer.
struct Page {
    body: Vec<u8>,
    /// The target of `rel="next"`, as it stands in the header.
    link: Option<String>,
    url: Url,
}

impl Connector for Http {
    fn test(&self) -> Result<String, Failure> {
        let page = self.fetch(self.start(None))?;
        let mut count = 0_u64;
        self.each(&page, &mut |_| {
            count += 1;
            Ok(Flow::More)
        })?;
        Ok(format!("the API answered: {count} records on the first page"))
    }

    fn schema(&self) -> Result<Vec<Table>, Failure> {
        let page = self.fetch(self.start(None))?;
        let mut shape = Shape::default();
        self.each(&page, &mut |raw| {
            shape.add(&record(raw).map_err(|error| wrong(&error))?);
            Ok(Flow::More)
        })?;
        Ok(vec![shape.table(&self.table)])
    }

    fn read(
        &self,
        since: Option<&Value>,
        options: &Reading,
        intake: &mut dyn Intake,
    ) -> Result<Value, Failure> {
        let mut changes = Changes::since(since, &self.key, options);
        intake.table(&self.table, changes.take())?;

        let mut url = self.start(Some(options.batch_size));
        if let (Some(name), Some(last)) = (&self.paging.cursor_param, changes.mark()) {
            set(&mut url, name, &last);
        }
        let mut asked = BTreeSet::new();
        for number in 1..=self.paging.most {
            if !asked.insert(url.to_string()) {
                return Err(Failure::new("the API sends the same next page again; its pages go in circles"));
            }
            let page = self.fetch(url)?;
            let mut count = 0_u64;
            self.each(&page, &mut |raw| {
                count += 1;
                changes.record(record(raw).map_err(|error| wrong(&error))?, intake)?;
                Ok(Flow::More)
            })?;
            match self.next(&page, number, count)? {
                Some(next) => url = next,
                None => return Ok(serde_json::to_value(changes.finish()?).unwrap_or(Value::Null)),
            }
        }
        let most = self.paging.most;
        Err(Failure::new(format!("the API has more than {most} pages; raise \"max_pages\" if that is right")))
    }
}

impl Http {
    /// The address of the first page.
    fn start(&self, size: Option<usize>) -> Url {
        let mut url = self.url.clone();
        for (name, value) in &self.params {
            set(&mut url, name, value);
        }
        if let Some(name) = &self.paging.page_param {
            set(&mut url, name, &self.paging.first.to_string());
        }
        if let (Some(name), Some(size)) = (&self.paging.size_param, size) {
            set(&mut url, name, &size.to_string());
        }
        url
    }

    /// The address of the page after this one.
    fn next(&self, page: &Page, number: u64, count: u64) -> Result<Option<Url>, Failure> {
        if let Some(link) = &page.link {
            return self.follow(page, link).map(Some);
        }
        let usual = || vec![vec!["next".to_owned()], vec!["links".to_owned(), "next".to_owned()]];
        let pointers = self.paging.next.clone().map_or_else(usual, |pointer| vec![pointer]);
        for pointer in &pointers {
            let mut found = Value::Null;
            each(page.body.as_slice(), pointer, &mut |raw| {
                found = serde_json::from_str(raw.get()).unwrap_or(Value::Null);
                Ok(Flow::Enough)
            })?
            .map_err(|error| wrong(&error))?;
            let token = match &found {
                Value::String(text) if !text.is_empty() => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => continue,
            };
            return match &self.paging.next_param {
                Some(name) => {
                    let mut url = page.url.clone();
                    set(&mut url, name, &token);
                    Ok(Some(url))
                }
                None => self.follow(page, &token).map(Some),
            };
        }
        Ok(self.paging.page_param.as_ref().filter(|_| count > 0).map(|name| {
            let mut url = page.url.clone();
            set(&mut url, name, &self.paging.first.saturating_add(number).to_string());
            url
        }))
    }

    fn follow(&self, page: &Page, link: &str) -> Result<Url, Failure> {
        let url =
            page.url.join(link).map_err(|_| Failure::new("the next page has no address that makes sense"))?;
        if url.origin() != self.url.origin() {
            return Err(Failure::new(
                "the next page lies on another server; credentials are not taken there",
            ));
        }
        Ok(url)
    }

    fn fetch(&self, url: Url) -> Result<Page, Failure> {
        self.reach.runtime.block_on(async {
            tokio::select! {
                page = self.get(url) => page,
                () = self.reach.stopped() => Err(self.reach.ended()),
            }
        })
    }

    async fn get(&self, url: Url) -> Result<Page, Failure> {
        let sent = self.reach.client.get(url).headers(self.headers.clone()).send().await;
        let mut response = sent.map_err(unreached)?;
        accepted(&response)?;
        let link = response.headers().get(LINK).and_then(|value| value.to_str().ok()).and_then(next_link);
        let url = response.url().clone();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreached)? {
            if body.len() + chunk.len() > LARGEST_PAGE {
                let limit = LARGEST_PAGE >> 20;
                return Err(Failure::new(format!(
                    "a page of the API is larger than {limit} MiB; ask for smaller pages"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Page { body, link, url })
    }

    /// Calls `take` with every record of a page.
    fn each(
        &self,
        page: &Page,
        take: &mut dyn FnMut(&RawValue) -> Result<Flow, Failure>,
    ) -> Result<(), Failure> {
        let usual;
        let path = match &self.records {
            Some(path) => path,
            None => {
                usual = usual_place(&page.body);
                &usual
            }
        };
        match each(page.body.as_slice(), path, &mut |raw| take(&raw))? {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(Failure::new(format!("the API answered, but there is nothing at /{}", path.join("/"))))
            }
            Err(error) => Err(wrong(&error)),
        }
    }
}

fn address(fields: Fields<'_>) -> Result<Url, Unfit> {
    let base = fields
        .first_text(&["base_url", "url"])?
        .ok_or_else(|| Unfit::new("\"base_url\" is missing: the address of the API"))?;
    let mut url = Url::parse(base)
        .map_err(|_| Unfit::new("\"base_url\" is no address; it looks like https://host/path"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Unfit::new("\"base_url\" must start with https:// or http://"));
    }
    url.set_fragment(None);
    if let Some(path) = fields.first_text(&["path", "endpoint"])? {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let joined = format!("{}/{}", url.path().trim_end_matches('/'), path.trim_start_matches('/'));
        url.set_path(&joined);
        if query.is_some() {
            url.set_query(query);
        }
    }
    Ok(url)
}

/// The headers of every request; those with credentials are never shown by the client.
fn headers(fields: Fields<'_>) -> Result<HeaderMap, Unfit> {
    use base64::Engine as _;
    let mut headers = HeaderMap::new();
    let mut put = |field: &str, name: &str, value: &str| -> Result<(), Unfit> {
        let unfit = || Unfit::new(format!("\"{field}\" cannot be sent as an HTTP header"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| unfit())?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    };
    put("accept", "accept", "application/json")?;
    for (name, value) in fields.pairs("headers")? {
        put("headers", &name, &value)?;
    }
    let name = fields.text("api_key_header")?.unwrap_or("X-API-Key");
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(Unfit::new("\"api_key_header\" is not the name of an HTTP header"));
    }
    if let Some(key) = fields.text("api_key")? {
        put("api_key", name, key)?;
    }
    let (user, password) = (fields.text("username")?, fields.text("password")?);
    if let Some(token) = fields.text("token")? {
        put("token", "authorization", &format!("Bearer {token}"))?;
    } else if let Some(user) = user {
        let pair = format!("{user}:{}", password.unwrap_or_default());
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        put("username", "authorization", &format!("Basic {pair}"))?;
    }
    Ok(headers)
}

/// Sets a parameter of the query, instead of the one of that name.
fn set(url: &mut Url, name: &str, value: &str) {
    let others: Vec<(String, String)> =
        url.query_pairs().filter(|(other, _)| other != name).map(|(a, b)| (a.into(), b.into())).collect();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
}

/// The target of `rel="next"` in a `Link` header.
fn next_link(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let params = after.split_once('<').map_or(after, |(params, _)| params);
        let is_next = params.split([';', ',']).any(|param| {
            param.trim().split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            return Some(target.to_owned());
        }
        rest = after;
    }
    None
}

/// The field with the array of records, if the answer is an object that has one of the usual ones.
fn usual_place(body: &[u8]) -> Vec<String> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(body).unwrap_or_default();
    let array = |name: &&str| fields.get(*name).is_some_and(|raw| raw.get().starts_with('['));
    USUAL.into_iter().find(array).map(|name| vec![name.to_owned()]).unwrap_or_default()
}

/// Is this an answer with data? Says what to do when it is not; never shows the body.
fn accepted(response: &Response) -> Result<(), Failure> {
    let status = response.status();
    let message = match status {
        _ if status.is_success() => return Ok(()),
        StatusCode::UNAUTHORIZED => "the API refused the credentials (401)".to_owned(),
        StatusCode::FORBIDDEN => "the API does not permit this with these credentials (403)".to_owned(),
        StatusCode::NOT_FOUND => {
            "the API has nothing at this address (404); check \"base_url\" and \"path\"".to_owned()
        }
        StatusCode::TOO_MANY_REQUESTS => "the API asks for fewer requests (429); sync later".to_owned(),
        _ if status.is_redirection() => {
            format!(
                "the API redirects to another server ({}); name that one in \"base_url\"",
                status.as_u16()
            )
        }
        _ => format!("the API answered with status {}", status.as_u16()),
    };
    Err(Failure::new(message))
}

/// Why no answer came. The address is left out: it may hold credentials.
fn unreached(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if error.is_timeout() {
        return Failure::timed_out(if error.is_connect() { CONNECT } else { ANSWER });
    }
    let mut reasons = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return Failure::new("the API refused the connection: nothing listens at this host and port");
        }
        reasons.push_str(&error.to_string().to_ascii_lowercase());
        cause = error.source();
    }
    Failure::new(if reasons.contains("dns") || reasons.contains("resolve") {
        "the name of the API's host could not be resolved (DNS)"
    } else if reasons.contains("certificate") || reasons.contains("tls") || reasons.contains("handshake") {
        "no secure connection to the API (TLS): its certificate is not accepted, or it speaks no TLS"
    } else if error.is_connect() {
        "no connection to the API's host"
    } else {
        "the connection to the API broke before the whole answer had come"
    })
}

fn wrong(error: &serde_json::Error) -> Failure {
    Failure::new(format!("the API answered with something that is not JSON as expected: {error}"))
}

#[cfg(test)]
mod tests {
    use super::next_link;

    #[test]
    fn the_next_page_is_found_in_a_link_header() {
        let check = |header, target: Option<&str>| assert_eq!(next_link(header).as_deref(), target);
        check("<https://a/?p=2>; rel=\"next\", <https://a/?p=9>; rel=\"last\"", Some("https://a/?p=2"));
        check("<https://a/?p=1>; rel=\"prev\", <https://a/?p=3>; rel=\"next\"", Some("https://a/?p=3"));
        check("<a>; title=\"x\"; rel=next", Some("a"));
        check("<https://a/?p=9>; rel=\"last\"", None);
        check("<broken", None);
    }
}
