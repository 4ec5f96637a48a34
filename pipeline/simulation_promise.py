"""What makes a simulated deal promising: shown criteria, hidden state, and how the two interact.

`promise` moves the log-rates of all that can happen to a deal. Of its parts the source, the decision
maker, the owner's skill and the customer's earlier purchases add up; the size of the customer, the
strain of the amount, the fit of product and industry, the workload of the owner and the effort are
non-linear or interact. Need and budget appear in no table.
"""

import numpy as np

from pipeline.simulation_world import Codes, Customers, Flags, Floats, Owners

SKILL = 0.2
"""What one standard deviation of the owner's skill adds."""
BOUGHT_BEFORE = 0.7
"""What an earlier purchase adds."""
PRODUCT = 0.45
"""How much the fit of a product to an industry counts."""
NEED = 0.06
"""What one standard deviation of the need, or of the budget, adds."""
RANDOM_SLICE = 0.1
"""Share of deals that a policy works whatever their score is."""

PRODUCT_SHARES = (0.3, 0.28, 0.14, 0.18, 0.1)
"""How often each product is what a deal is about."""

_SOURCE_FIT = np.array([0.0, 1.3, 0.7, 0.1, -1.1, -0.7])
_OUTBOUND, _PROJECT = 4, 4
# One row per industry, one column per product.
_PRODUCT_FIT = np.array(
    [
        [-0.4, 0.0, 0.4, 0.0, 0.6],
        [0.4, 0.0, -0.4, 0.0, -0.6],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [-0.4, 0.0, 0.0, 0.0, 0.6],
        [0.4, 0.0, 0.4, 0.0, -0.6],
        [0.0, 0.0, 0.4, 0.0, 0.0],
        [0.4, 0.0, -0.4, 0.0, -0.6],
        [0.4, 0.0, 0.0, 0.0, -0.6],
    ]
)


def shown_promise(
    customers: Customers,
    customer: Codes,
    source: Codes,
    product: Codes,
    amount: Floats,
    has_decision_maker: Flags,
) -> Floats:
    """Return the part of the promise that follows from what the CRM shows at a deal's creation."""
    size = customers.size[customer]
    strain = np.maximum(np.log(amount) - 0.45 * size - np.log(5_500.0), 0.0)
    weak = customers.solvency[customer] < -0.7
    return np.asarray(
        _SOURCE_FIT[source]
        + 0.7 * ((source == _OUTBOUND) & customers.is_migrated[customer])
        + PRODUCT * _PRODUCT_FIT[customers.industry[customer], product]
        - 0.6 * strain
        - 0.3 * (weak & (strain > 0.0))
        - 0.22 * np.minimum((size - 0.3) ** 2, 4.0)
        + 0.2 * (has_decision_maker - 0.5)
    )


def hidden_promise(rng: np.random.Generator, customers: Customers, customer: Codes, amount: Floats) -> Floats:
    """Draw the part of the promise that no table shows: need, budget, and what one spoils of the other."""
    need = 0.7 * customers.need[customer] + 0.7 * rng.normal(size=len(customer))
    budget = customers.budget[customer] - 0.45 * (np.log(amount) - 8.6) + 0.4 * rng.normal(size=len(customer))
    return np.asarray(
        NEED * need
        + NEED * np.minimum(budget, 0.5)
        - 0.15 * ((need > 0.5) & (budget < -0.8))
        + 0.1 * customers.satisfaction[customer] * customers.is_migrated[customer]
    )


def customer_promise(customers: Customers, owners: Owners, own_owner: float) -> Floats:
    """Return the part of the promise that all further deals of a buyer share, its owner having `own_owner` of them."""
    fit = _PRODUCT_FIT @ np.array(PRODUCT_SHARES)
    return np.asarray(
        PRODUCT * fit[customers.industry]
        - 0.22 * np.minimum((customers.size - 0.3) ** 2, 4.0)
        + NEED * 0.7 * customers.need
        + 0.1 * customers.satisfaction * customers.is_migrated
        + own_owner * SKILL * owners.skill[customers.owner]
    )


def effort_promise(effort: Floats) -> Floats:
    """Return what effort adds, less and less of it."""
    return np.asarray(0.2 * np.log(np.minimum(effort, 1.6)))


def workload_promise(workload: Codes) -> Floats:
    """Return what the owner's open deals at the creation cost: nothing up to 15, then 0.02 each, at most 0.2."""
    return np.asarray(-np.minimum(0.02 * np.maximum(workload - 15, 0), 0.2))


def choose_worked(rng: np.random.Generator, shown: Floats, policy: float | None) -> Flags:
    """Choose the deals that are worked: all, or the share `policy` with the best shown criteria and a random slice."""
    is_random = rng.random(len(shown)) < RANDOM_SLICE
    if policy is None or not len(shown):
        return np.ones(len(shown), dtype=bool)
    return np.asarray((shown >= np.quantile(shown, 1 - policy)) | is_random)
