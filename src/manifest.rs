//! Text to desired state, with every diagnostic.
