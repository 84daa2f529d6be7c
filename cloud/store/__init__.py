"""The head end's database: schema.sql is its shape, sql.py every statement, one thread writes."""
