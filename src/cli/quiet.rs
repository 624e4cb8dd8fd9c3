//! A run that had nothing to do, remembered: while everything that it was made from is as it was, so is
//! the next one, and the files need not even be parsed for it.

use super::answer;
use super::args::{ApplyArgs, Common, Format};
use super::select::Selector;
use super::workplace::{self, Workplace};
use crate::model::{Fingerprint, FingerprintKey, PlatformUrl, SecretRef, Unit};
use crate::plan::Plan;
use crate::reconcile::{Planned, fingerprint, list_all};
use crate::remote::{ListDigest, Listing};
use crate::render;
use crate::settings::{self, Platform, Settings};
use crate::state::State;
use crate::tree;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};

/// What such a run was made from, and what it said.
#[derive(Serialize, Deserialize)]
struct Memo {
    /// Of the program, its flags and the host file.
    made_by: String,
    tree: String,
    /// `platform.url` in the files.
    declared: Option<PlatformUrl>,
    /// Where the platform was, as the state knows it: a flag or a variable may name another by now.
    platform: String,
    /// What `wellspring.toml` was read with.
    variables: BTreeMap<String, Option<Fingerprint>>,
    secrets: Vec<(SecretRef, Fingerprint)>,
    lists: Vec<(Unit, ListDigest)>,
    said: render::Quiet,
}

/// Is this run like the last?
pub(super) enum Again {
    /// It was, and has said so.
    Same,
    /// It may differ. The platform's answers so far, by unit.
    Moved(HashMap<Unit, Listing>),
}

/// May such a run be remembered, and its memory be used?
pub(super) fn concerns(common: &Common, selector: &Selector) -> bool {
    // Other formats tell each source.
    common.format == Format::Human && !common.verbose() && selector.selects_everything()
}

/// Looks whether everything is as it was when there was nothing to do.
pub(super) async fn again(common: &Common, args: &ApplyArgs, selector: &Selector) -> Again {
    let nothing = Again::Moved(HashMap::new());
    if !concerns(common, selector) {
        return nothing;
    }
    let Some((settings, state, memo)) = recall(common, args).await else { return nothing };
    let Ok(tree) = tree::read(&settings.root) else { return nothing };
    if tree.digest.to_string() != memo.tree || tree.git_locked || !memo.same_secrets(&settings, state.key()) {
        return nothing;
    }
    let Ok(Platform::Remote(base_url)) = settings.platform(memo.declared.as_ref()) else { return nothing };
    let Ok(token) = settings::token(&settings, &base_url, common.interactive()) else { return nothing };
    let Ok(reader) = workplace::reader(&settings, base_url, token) else { return nothing };
    let listings = list_all(&reader, memo.lists.iter().map(|(unit, _)| unit.clone())).await;
    let listed: HashMap<Unit, Listing> =
        listings.into_iter().filter_map(|(unit, listing)| Some((unit, listing.ok()?))).collect();
    let same = |(unit, digest): &(Unit, ListDigest)| {
        listed.get(unit).is_some_and(|listing| listing.digest() == *digest)
    };
    let still = || async { state.quiet(&workplace::root(&settings)).await.is_ok_and(|memo| memo.is_some()) };
    if memo.lists.iter().all(same) && still().await {
        answer::write(&render::quiet(&memo.said, &answer::look(common)));
        return Again::Same;
    }
    Again::Moved(listed)
}

async fn recall(common: &Common, args: &ApplyArgs) -> Option<(Settings, State, Memo)> {
    let settings = workplace::resolve(common, args.path.as_ref()).ok()?;
    let platform = |declared: Option<&PlatformUrl>| match settings.platform(declared) {
        Ok(platform @ Platform::Remote(_)) => Some(workplace::key(&platform)),
        _ => None,
    };
    let open = |key: &str| State::open_read_only(&settings.state_dir, key).ok().flatten();
    let memo = open("")?.quiet(&workplace::root(&settings)).await.ok()??;
    let memo: Memo = serde_json::from_str(&memo).ok()?;
    let platform = platform(memo.declared.as_ref()).filter(|platform| *platform == memo.platform)?;
    let state = open(&platform)?;
    (memo.made_by == made_by(&settings, args)).then_some((settings, state, memo))
}

/// What to keep of a run that has nothing to do and nothing to tell but that; `None` of any other.
pub(super) fn memo(
    (common, args, selector): (&Common, &ApplyArgs, &Selector),
    place: &Workplace,
    planned: &[Planned],
    plan: &Plan,
) -> Option<String> {
    let clean = place.reading.diagnostics.is_empty() && place.reading.desired.broken.is_empty();
    if !concerns(common, selector) || !clean || place.is_local() {
        return None;
    }
    let key = place.state.as_ref()?.key();
    let (mut secrets, mut lists) = (BTreeMap::new(), Vec::new());
    for planned in planned {
        let mark = planned.mark.as_ref().filter(|_| planned.plan.unmanaged.is_empty())?;
        secrets.extend(mark.secrets().iter().cloned());
        lists.push((planned.plan.unit().clone(), mark.list()));
    }
    let value = |name: &String| (name.clone(), variable(&place.settings, name, key));
    let memo = Memo {
        made_by: made_by(&place.settings, args),
        tree: place.reading.digest.to_string(),
        declared: place.reading.desired.platform.clone(),
        platform: place.url(),
        variables: place.reading.variables.iter().map(value).collect(),
        secrets: secrets.into_iter().collect(),
        lists,
        said: render::Quiet::of(plan),
    };
    serde_json::to_string(&memo).ok()
}

impl Memo {
    fn same_secrets(&self, settings: &Settings, key: &FingerprintKey) -> bool {
        let secrets = settings.secrets();
        self.variables.iter().all(|(name, was)| variable(settings, name, key) == *was)
            && self
                .secrets
                .iter()
                .all(|(reference, was)| fingerprint(reference, &secrets, key).as_ref() == Some(was))
    }
}

fn variable(settings: &Settings, name: &str, key: &FingerprintKey) -> Option<Fingerprint> {
    let value = (settings.environment())(name)?;
    Some(key.of(&serde_json::Value::from(value)))
}

/// Whatever decides what files mean and what is done about it, apart from the files themselves.
fn made_by(settings: &Settings, args: &ApplyArgs) -> String {
    // Of one version there may be several builds.
    let build = std::env::current_exe().and_then(std::fs::metadata).ok();
    let build = build.map(|build| (build.len(), build.modified().ok()));
    let all = format!("{:?}", (env!("CARGO_PKG_VERSION"), build, &args.limits, &settings.host));
    Sha256::digest(all).iter().map(|byte| format!("{byte:02x}")).collect()
}
