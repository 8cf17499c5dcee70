"""A model that several ranks compute together, each a part of every layer ("tensor parallel")."""
