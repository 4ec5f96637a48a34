"""How CRMs are read and written."""
