//! JSON Schemas (draft 7) with which editors check and complete the files.
//!
//! Written by hand in `schema/`; the tests below compare them with the keys that the parser accepts.

/// Schema of workspace files.
pub const WORKSPACE_SCHEMA: &str = include_str!("../../../../schema/workspace.schema.json");

/// Schema of `wellspring.toml`.
pub const SETTINGS_SCHEMA: &str = include_str!("../../../../schema/settings.schema.json");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{policy, settings, source, sync, workspace};
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// Checks that the schema's keys at a pointer are exactly the known ones.
    #[track_caller]
    fn check(schema: &str, pointer: &str, known: &[&str]) {
        let schema: Value = serde_json::from_str(schema).unwrap();
        let at = schema.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}"));
        let keys: BTreeSet<&str> = at["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, known.iter().copied().collect(), "{pointer}");
        assert_eq!(at["additionalProperties"], false, "{pointer}");
    }

    #[test]
    fn the_schemas_know_the_keys_that_are_read() {
        check(WORKSPACE_SCHEMA, "", &workspace::FILE_KEYS);
        check(WORKSPACE_SCHEMA, "/properties/workspace", &workspace::WORKSPACE_KEYS);
        check(WORKSPACE_SCHEMA, "/properties/removed/additionalProperties", &workspace::REMOVED_KEYS);
        check(WORKSPACE_SCHEMA, "/definitions/source", &source::SOURCE_KEYS);
        check(WORKSPACE_SCHEMA, "/definitions/source/properties/suspend", &sync::SUSPEND_KEYS);
        check(SETTINGS_SCHEMA, "", &settings::KEYS);
        check(SETTINGS_SCHEMA, "/properties/platform", &settings::PLATFORM_KEYS);
        check(SETTINGS_SCHEMA, "/properties/workspaces/additionalProperties/anyOf/1", &settings::ALIAS_KEYS);
        check(SETTINGS_SCHEMA, "/properties/defaults", &source::DEFAULT_KEYS);
        check(SETTINGS_SCHEMA, "/definitions/template", &source::TEMPLATE_KEYS);
        for schema in [WORKSPACE_SCHEMA, SETTINGS_SCHEMA] {
            check(schema, "/definitions/policy", &policy::KEYS);
            check(schema, "/definitions/sync", &sync::SYNC_KEYS);
            check(schema, "/definitions/test", &sync::TEST_KEYS);
        }
    }

    #[test]
    fn what_goes_to_the_platform_is_left_open() {
        for schema in [WORKSPACE_SCHEMA, SETTINGS_SCHEMA] {
            let schema: Value = serde_json::from_str(schema).unwrap();
            assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
            for open in ["connection_config", "metadata", "sync_options"] {
                assert_eq!(schema["definitions"][open]["additionalProperties"], true, "{open}");
            }
        }
    }
}
