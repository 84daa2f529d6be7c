"""Orders: their kinds, form, approvals and states, and what holds for all of them."""
