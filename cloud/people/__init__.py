"""Who may ask, and what an approver signs with."""
