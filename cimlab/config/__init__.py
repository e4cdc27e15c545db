"""From words to checked objects: conf/, the schema, the parts that a configuration names, and what it may not say."""
