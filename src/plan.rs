//! Desired, observed and inventory to a plan: values in, values out.
