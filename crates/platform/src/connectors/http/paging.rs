//! Follows pages until a response states or shows that it is the last.

use std::collections::{BTreeSet, HashMap, HashSet};

use reqwest::Url;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::super::{ConfigError, ConfigFields, ReadError};
use super::address::{follow, set};
use super::answer::{BodyForm, plain_at};
use super::fetch::FetchedPage;
use super::names::normalize;
use super::reasons::plain;
use super::signs::Signs;

/// Default and maximum of `max_pages`.
///
/// More pages than the default usually mean a mistake of the API or the configuration.
const DEFAULT_MAX_PAGES: u64 = 10_000;
const MAX_PAGES_LIMIT: u64 = 1_000_000;

/// Configured way to the next page.
pub(super) struct Paging {
    next: Option<Vec<String>>,
    next_param: Option<String>,
    page_param: Option<String>,
    size_param: Option<String>,
    first_number: u64,
    max_pages: u64,
    /// Response fields that are not signs, in normalised form.
    pub(super) ignored: BTreeSet<String>,
}

pub(super) struct PageContent {
    pub(super) digest: [u8; 32],
    pub(super) count: u64,
    /// Identity of each record, if all have one.
    pub(super) ids: Vec<[u8; 32]>,
}

#[derive(Default)]
pub(super) struct PageWalk {
    pub(super) pages: u64,
    /// True if the last sync read a list.
    pub(super) was_list: bool,
    record_count: u64,
    /// Place of the records on the first page.
    first_location: Option<(Vec<String>, BodyForm)>,
    asked: HashSet<[u8; 32]>,
    digests: HashMap<[u8; 32], u64>,
    largest_page: u64,
    /// Number and identities of the last page's records.
    last: (u64, Vec<[u8; 32]>),
    /// Field and value of the total, and of the number of pages, on the last page with one.
    total: Option<(String, u64)>,
    page_total: Option<u64>,
    filled_pages: u64,
    by_link: bool,
}

/// Continuation after a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PageOrder {
    /// The response states that there are no more pages, or is empty.
    End,
    /// There is no sign of pages, so this response is complete.
    SinglePage,
    Next(Box<Url>),
}

impl Paging {
    pub(super) fn read(fields: ConfigFields<'_>) -> Result<Self, ConfigError> {
        let ignored = fields.texts("ignore")?.unwrap_or_default();
        Ok(Self {
            next: fields.pointer("next")?,
            next_param: fields.text("next_param")?.map(str::to_owned),
            page_param: fields.text("page_param")?.map(str::to_owned),
            size_param: fields.text("page_size_param")?.map(str::to_owned),
            first_number: fields.unsigned("first_page")?.unwrap_or(1),
            max_pages: fields.unsigned("max_pages")?.unwrap_or(DEFAULT_MAX_PAGES).clamp(1, MAX_PAGES_LIMIT),
            ignored: ignored.iter().map(|name| normalize(name.rsplit('/').next().unwrap_or(name))).collect(),
        })
    }

    /// Adds the parameters of the first page.
    pub(super) fn set_first_page(&self, url: &mut Url, size: Option<usize>) {
        if let Some(name) = &self.page_param {
            set(url, name, &self.first_number.to_string());
        }
        if let (Some(name), Some(size)) = (&self.size_param, size) {
            set(url, name, &size.to_string());
        }
    }

    /// Returns true if pages are requested by number.
    pub(super) fn is_by_number(&self) -> bool {
        self.page_param.is_some()
    }

    /// Records the request of `url` and checks the page limit.
    pub(super) fn record_request(&self, walk: &mut PageWalk, url: &Url) -> Result<(), ReadError> {
        let most = self.max_pages;
        if walk.pages >= most {
            return Err(ReadError::new(format!(
                "the API has more than {most} pages; raise \"max_pages\" if that is right"
            )));
        }
        if !walk.asked.insert(Sha256::digest(url.as_str()).into()) {
            return Err(ReadError::new("the API sends the same next page again; its pages go in circles"));
        }
        Ok(())
    }

    /// Returns true if the records of a page are to be used.
    ///
    /// A page that was read before ends the read (false), or is an error.
    pub(super) fn admit(&self, walk: &PageWalk, page: &PageContent) -> Result<bool, ReadError> {
        let number = walk.pages + 1;
        let (Some(before), 1..) = (walk.digests.get(&page.digest), page.count) else {
            self.check_overlap(walk, page)?;
            return Ok(true);
        };
        // Some APIs repeat their last page for higher numbers. A page shorter than the others is
        // known to be the last.
        let clamped = self.is_by_number() && *before > 1 && *before + 1 == number;
        if clamped
            && (page.count < walk.largest_page
                || walk.total.as_ref().is_some_and(|(_, total)| walk.record_count >= *total))
        {
            return Ok(false);
        }
        let why = match &self.page_param {
            Some(name) if *before == 1 => {
                format!("the API does not look at \"{name}\"; name the parameter that it has, or none")
            }
            Some(_) => "it cannot be known which page was the last".to_owned(),
            None => "its pages go in circles".to_owned(),
        };
        Err(ReadError::new(format!("page {number} of the API holds what page {before} held: {why}")))
    }

    /// Fails if records were repeated from the end of the previous page.
    ///
    /// Records were then added or removed between the requests.
    fn check_overlap(&self, walk: &PageWalk, page: &PageContent) -> Result<(), ReadError> {
        let (_, before) = &walk.last;
        let most = before.len().min(page.ids.len().saturating_sub(1));
        let moved = (1..=most).rev().find(|count| before.ends_with(&page.ids[..*count]));
        let Some(moved) = moved else { return Ok(()) };
        let (from, to) = (walk.pages, walk.pages + 1);
        Err(ReadError::new(format!(
            "{moved} records of page {from} are on page {to} again: they moved while the pages were read; \
             write key = with the field that identifies a record, and each is taken once"
        )))
    }

    /// Determines the continuation after a used page.
    pub(super) fn after(
        &self,
        walk: &mut PageWalk,
        page: &FetchedPage,
        content: PageContent,
        signs: &Signs,
    ) -> Result<PageOrder, ReadError> {
        // Some APIs repeat their last token with an empty page.
        let may_repeat = content.count == 0 && walk.filled_pages > 0;
        match self.next_page(walk, page, content, signs)? {
            PageOrder::Next(next) if may_repeat && (*next == page.url || *next == page.base) => {
                self.end(walk)
            }
            PageOrder::End => self.end(walk),
            order => Ok(order),
        }
    }

    fn next_page(
        &self,
        walk: &mut PageWalk,
        page: &FetchedPage,
        content: PageContent,
        signs: &Signs,
    ) -> Result<PageOrder, ReadError> {
        let count = content.count;
        walk.pages += 1;
        walk.filled_pages += u64::from(count > 0);
        walk.record_count += count;
        walk.largest_page = walk.largest_page.max(count);
        walk.digests.entry(content.digest).or_insert(walk.pages);
        walk.last = (count, content.ids);
        let before = walk.total.as_ref().map(|(_, total)| *total);
        let total = signs.total.as_ref().map(|(_, total)| *total);
        walk.total = signs.total.clone();
        walk.page_total = signs.pages.as_ref().map(|(_, pages)| *pages).or(walk.page_total);
        if walk.pages == 1
            && let Some(field) = &signs.not_first
        {
            let first = self.first_number.saturating_sub(1);
            return Err(ReadError::new(format!(
                "\"{field}\" says that the first answer is not the first page; write first_page = {first}"
            )));
        }
        if before > total && total.is_some() {
            return Err(ReadError::new(
                "the API has fewer records than when the reading began; some may have moved to a page \
                 that was read before: sync again",
            ));
        }
        if let Some(pointer) = &self.next {
            return self.configured_next(walk, page, pointer, signs);
        }
        if let Some(link) = &signs.link {
            walk.by_link = true;
            return Ok(PageOrder::Next(Box::new(self.follow(page, link)?)));
        }
        if let (Some(name), Some((_, token))) = (&self.next_param, &signs.token)
            && !signs.end
        {
            let mut url = page.url.clone();
            set(&mut url, name, token);
            return Ok(PageOrder::Next(Box::new(url)));
        }
        match &self.page_param {
            Some(name) => self.next_by_number(walk, page, name, signs),
            None => self.inferred_next(walk, signs),
        }
    }

    /// Determines the next page by the configured `next`.
    fn configured_next(
        &self,
        walk: &PageWalk,
        page: &FetchedPage,
        pointer: &[String],
        signs: &Signs,
    ) -> Result<PageOrder, ReadError> {
        let token = match plain_at(&page.body, pointer) {
            Some(Value::String(text)) if !text.is_empty() => text,
            Some(Value::Number(number)) => number.to_string(),
            _ => {
                return match &signs.more {
                    Some(field) if !signs.end => Err(ReadError::new(format!(
                        "\"{field}\" says that there are further pages, but there is none at /{}{}",
                        pointer.join("/"),
                        self.ignore_hint(field)
                    ))),
                    _ if !signs.end => self.truncated_error(walk, signs).map_or(Ok(PageOrder::End), Err),
                    _ => Ok(PageOrder::End),
                };
            }
        };
        let url = match &self.next_param {
            Some(name) => {
                let mut url = page.url.clone();
                set(&mut url, name, &token);
                url
            }
            None => self.follow(page, &token)?,
        };
        Ok(PageOrder::Next(Box::new(url)))
    }

    fn follow(&self, page: &FetchedPage, link: &str) -> Result<Url, ReadError> {
        follow(&page.url, &page.base, link)
    }

    fn next_by_number(
        &self,
        walk: &PageWalk,
        page: &FetchedPage,
        name: &str,
        signs: &Signs,
    ) -> Result<PageOrder, ReadError> {
        // A total below the number of records is wrong, so it does not tell the end.
        let all = signs.total.as_ref().is_some_and(|(_, total)| walk.record_count == *total && *total > 0)
            || signs.pages.as_ref().is_some_and(|(_, pages)| walk.pages >= *pages && self.first_number <= 1);
        if signs.end || (all && signs.more.is_none()) {
            return Ok(PageOrder::End);
        }
        if walk.last.0 == 0 {
            return Ok(PageOrder::End);
        }
        let mut url = page.url.clone();
        set(&mut url, name, &self.first_number.saturating_add(walk.pages).to_string());
        Ok(PageOrder::Next(Box::new(url)))
    }

    /// Ends the read, unless the API stated more records or pages.
    pub(super) fn end(&self, walk: &PageWalk) -> Result<PageOrder, ReadError> {
        let by_number = self.is_by_number() && self.first_number == 1;
        let from_0 = if by_number { "; write first_page = 0 if its pages begin with 0" } else { "" };
        if let Some((field, total)) = walk.total.as_ref().filter(|(_, total)| *total > walk.record_count) {
            return Err(ReadError::new(format!(
                "the API says that it has {total} records, and its pages end after {}{from_0}{}",
                walk.record_count,
                self.ignore_hint(field)
            )));
        }
        if let Some(pages) = walk.page_total.filter(|pages| by_number && *pages > walk.filled_pages)
            && walk.filled_pages > 0
        {
            let filled = walk.filled_pages;
            return Err(ReadError::new(format!(
                "the API says that it has {pages} pages, and {filled} have records{from_0}"
            )));
        }
        Ok(PageOrder::End)
    }

    /// Determines the continuation if nothing is configured.
    fn inferred_next(&self, walk: &PageWalk, signs: &Signs) -> Result<PageOrder, ReadError> {
        if signs.end {
            return Ok(PageOrder::End);
        }
        if walk.by_link {
            return Ok(PageOrder::End);
        }
        if let Some((field, _)) = &signs.token {
            let pages = "write page_param with the parameter that takes the number of a page";
            let token =
                format!("write next = \"{field}\", and next_param with the parameter that takes this token");
            let what = if field.starts_with('/') { token } else { pages.to_owned() };
            return Err(self.more_pages_error(field, &what));
        }
        if let Some(field) = &signs.more {
            return Err(self.more_pages_error(
                field,
                "write page_param (pages by number), or next and next_param (a token)",
            ));
        }
        if let Some(failure) = self.truncated_error(walk, signs) {
            return Err(failure);
        }
        if let Some((field, limit)) = &signs.limit
            && signs.total.is_none()
            && signs.pages.is_none()
            && walk.record_count == *limit
            && walk.record_count > 0
        {
            return Err(
                self.more_pages_error(field, "the answer is full; write page_param, or next and next_param")
            );
        }
        let counted = signs.total.is_some() || signs.pages.is_some();
        Ok(if counted { PageOrder::End } else { PageOrder::SinglePage })
    }

    fn more_pages_error(&self, field: &str, what: &str) -> ReadError {
        let field = plain(field);
        ReadError::new(format!(
            "\"{field}\" in the API's answer says that there are further pages: {what}{}",
            self.ignore_hint(&field)
        ))
    }

    /// Returns an error if the response has fewer records or pages than stated.
    fn truncated_error(&self, walk: &PageWalk, signs: &Signs) -> Option<ReadError> {
        let (field, says, gave) = match (&signs.total, &signs.pages) {
            (Some((field, total)), _) if *total > walk.record_count => {
                (field, format!("{total} records"), walk.record_count.to_string())
            }
            (_, Some((field, pages))) if *pages > walk.pages => {
                (field, format!("{pages} pages"), walk.pages.to_string())
            }
            _ => return None,
        };
        Some(ReadError::new(format!(
            "\"{}\" says that the API has {says}, and it gave {gave}; write page_param (pages by number), or \
             next and next_param (a token){}",
            plain(field),
            self.ignore_hint(field)
        )))
    }

    fn ignore_hint(&self, field: &str) -> String {
        let name = field.rsplit('/').next().unwrap_or(field);
        format!("; ignore = [\"{}\"] if it means something else", plain(name))
    }
}

impl PageWalk {
    /// Starts a read; `was_list` is true if the previous one read a list.
    pub(super) fn after(was_list: bool) -> Self {
        Self { was_list, ..Self::default() }
    }

    /// Returns true if the pages contained a list; empty pages keep the last value.
    pub(super) fn is_list(&self) -> bool {
        self.first_location.as_ref().map_or(self.was_list, |(_, form)| *form == BodyForm::List)
    }

    /// Verifies that every page has its records at the same place.
    pub(super) fn check_same_location(&mut self, place: &[String], form: BodyForm) -> Result<(), ReadError> {
        let Some((first, known)) = &self.first_location else {
            self.first_location = Some((place.to_vec(), form));
            return Ok(());
        };
        if form == BodyForm::Null || (first == place && form == *known) {
            return Ok(());
        }
        let (page, place) = (self.pages + 1, first.join("/"));
        Err(ReadError::new(format!(
            "page {page} of the API has no records at /{place}, where the first page has them"
        )))
    }
}

impl PageContent {
    /// Returns a digest that identifies the records of a page.
    pub(super) fn digest(records: &RawValue) -> [u8; 32] {
        Sha256::digest(records.get()).into()
    }
}
