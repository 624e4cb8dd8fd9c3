//! A plan or an outcome as text, JSON, Markdown or annotations.
