"""All that happens in a simulated world, before any table shows a part of it."""

from dataclasses import dataclass

import numpy as np

from pipeline.simulation_accounts import Accounts, Orders, Rhythm, draw_orders, draw_rhythm, simulate_accounts
from pipeline.simulation_deals import Deals, Progress, draw_deals
from pipeline.simulation_progress import simulate_progress
from pipeline.simulation_world import Contacts, Customers, Owners, draw_contacts, draw_customers, draw_owners


@dataclass(frozen=True)
class World:
    """People, deals, accounts and orders with all hidden state."""

    owners: Owners
    customers: Customers
    contacts: Contacts
    deals: Deals
    progress: Progress
    accounts: Accounts
    rhythm: Rhythm
    orders: Orders


def draw_world(rng: np.random.Generator, customers: int, policy: float | None = None) -> World:
    """Draw a world; with a `policy` only that share of deals is worked (and a random slice)."""
    owners = draw_owners(rng, customers)
    people = draw_customers(rng, customers, owners)
    contacts = draw_contacts(rng, people)
    deals = draw_deals(rng, people, contacts, owners, policy=policy)
    progress = simulate_progress(rng, deals, people, owners)
    accounts = simulate_accounts(rng, people, owners, deals, progress)
    rhythm = draw_rhythm(rng, people, accounts)
    orders = draw_orders(rng, people, accounts, deals, progress, rhythm)
    return World(owners, people, contacts, deals, progress, accounts, rhythm, orders)
