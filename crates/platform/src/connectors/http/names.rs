//! Words that APIs give to errors, results and pages.
//!
//! Invariant: names are compared by letters and digits only, so that `next_page_url`, `nextPageUrl` and
//! `@odata.nextLink` need one entry each.

use wellspring_sensitive::Words;

/// Normalises a name to its letters and digits in lower case.
///
/// Makes `error_code`, `errorCode` and `@error.code` equal.
pub(super) fn normalize(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Fields with a reason, the most specific first.
pub(super) const REASONS: Words = Words(
    "message msg errormessage errormsg errmsg error errordescription errordetail errordetails errors
    errormessages title detail details description reason info faultstring fault exception exceptionmessage
    cause text err",
);
/// Fields with a reason, used if the others have none.
pub(super) const LAST_REASONS: Words = Words("status meta result");
/// Fields with the number or name of an error.
pub(super) const CODES: Words =
    Words("code errorcode errcode errno statuscode status faultcode type errortype key ret");
/// Fields that indicate an error unless they are empty.
pub(super) const ERRORS: Words = Words(
    "error errors err fault faults exception exceptions errormessage errormessages errormsg errmsg
    errordescription errorcode errcode errno errortype faultstring faultcode odataerror",
);
/// Fields in which `false` indicates failure.
pub(super) const SUCCESS_FLAGS: Words =
    Words("success ok succeeded successful issuccess issuccessful isok wassuccessful");
/// Fields in which `true` indicates failure or incomplete results.
pub(super) const FAILURE_FLAGS: Words =
    Words("iserror haserror haserrors failed isfailed isfault timedout errored");
/// Fields with the result of a call as a word or number.
pub(super) const OUTCOMES: Words = Words("status result outcome responsestatus state");
/// Fields with an HTTP status or a code of the API.
pub(super) const STATUSES: Words = Words(
    "code status statuscode httpcode httpstatus httpstatuscode responsecode resultcode retcode returncode",
);
/// Objects next to the records that describe the result of the call.
pub(super) const RESULT_CONTAINERS: Words =
    Words("status meta metadata responsestatus header head result response responseheader shards");
/// Values of [`OUTCOMES`] that mean failure.
pub(super) const FAILURES: Words = Words(
    "error errors err fail failed failure fault ko nok notok exception denied requestdenied unauthorized
    forbidden invalid invalidrequest overquerylimit",
);
/// Values of [`OUTCOMES`] that mean success.
pub(super) const SUCCESSES: Words = Words(
    "ok okay success succeeded successful successfully complete completed done true none zeroresults noerror",
);
/// Fields of responses that contain a message but no data.
pub(super) const MESSAGE_FIELDS: Words = Words(
    "message msg detail details title description reason info hint help status code statuscode httpstatus
    type kind instance path method timestamp time requestid traceid correlationid documentationurl
    documentation docs moreinfo link links success ok result reasoncode retryafter version data
    exceptionmessage",
);
/// The remarks that contain the actual message.
pub(super) const REQUIRED_MESSAGE_FIELDS: Words =
    Words("message msg detail details title description reason info exceptionmessage code");

/// Suffixes of `next` that name a next page, unlike `nextSyncToken` and `next_run`.
pub(super) const NEXT: Words = Words(
    "link links url uri href page pages pageurl pageuri pagelink pagehref pagepath pagetoken pagecursor
    pageid pagenumber pagenum pageno pageindex token cursor offset marker key path recordsurl resultsurl
    start startindex batch skip continuationtoken startingafter range",
);
/// Fields with a flag that is true if more records follow.
pub(super) const MORE: Words = Words(
    "hasnext hasnextpage hasmore hasmorepages hasmoreitems hasmoreresults hasmorerecords hasmoredata more
    morerecords moreresults moreavailable moreresultsavailable exceededtransferlimit istruncated truncated
    incompleteresults partial partialresults",
);
/// Fields with a flag that is true on the last page.
pub(super) const LAST: Words =
    Words("last islast lastpage islastpage done isdone end isend complete finished");
/// Fields with a flag that is true on the first page.
pub(super) const FIRST: Words = Words("first isfirst isfirstpage");
/// Fields with the token of the next page.
pub(super) const TOKEN: Words = Words(
    "after aftercursor cursor continue continuation continuationtoken scrollid lastevaluatedkey
    resumptiontoken bookmark",
);
/// Fields with the number of all records.
pub(super) const TOTAL: Words = Words(
    "total totalcount totalitems totalresults totalrecords totalelements totalrows totalsize totalhits
    totalentries totalobjects totaldocs totaldocuments totalrecordcount totalitemcount totalresultcount
    totalnumber numfound nbhits recordsfiltered count counttotal itemcount resultcount recordcount found",
);
/// Fields with the number of all pages.
pub(super) const PAGES: Words =
    Words("totalpages pagecount numpages nbpages lastpage pages pagetotal maxpage numberofpages");
/// Fields with the maximum number of records of a page.
pub(super) const LIMIT: Words =
    Words("limit perpage pagesize pagelimit maxresults itemsperpage resultsperpage hitsperpage");
/// Fields of [`TOTAL`] that may also count the records of one page.
pub(super) const COUNT: Words = Words("count itemcount resultcount recordcount found");
/// Fields with the number of records that this response lacks.
pub(super) const REMAINING: Words = Words("remaining remainingcount remainingitemcount");
/// Objects next to the records that describe pages.
pub(super) const PAGE_CONTAINERS: Words = Words(
    "meta metadata pagination paginationinfo pager paging pageable page pages pageinfo links link info
    listinfo responsemetadata responseheader searchmetadata searchinformation queries view cursor resultset
    resultinfo hits",
);
/// Fields that describe the position of this page.
pub(super) const PLACES: Words = Words(
    "hasprev hasprevpage hasprevious haspreviouspage pagingcounter previouspageurl number numberofelements
    offset start startat startindex skip size from to prev previous previouspage prevpage prevpageurl
    prevlink firstpage firstpageurl lastpageurl currentpage pagenumber pageindex self href etag empty sort
    took timedout shards",
);
/// Fields of an object under `next` that contain a URL.
pub(super) const ADDRESSES: Words = Words("href url uri link");
/// Fields of an object under `next` that contain a token.
pub(super) const TOKENS: Words = Words("cursor after startingafter token page offset pagetoken");
