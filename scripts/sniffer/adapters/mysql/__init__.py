"""MySQL: the schema, its migrations, and a repository for each kind of row."""
