"""From canonical CRM tables to feature and label frames that cannot see the future."""
