//! Due runs to calls, recorded.
