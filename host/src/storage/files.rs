//! Large bytes that belong in files: spooled inputs and artifacts, under one byte budget.
