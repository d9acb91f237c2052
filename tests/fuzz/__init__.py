"""Checks with inputs that nobody should give: a clear error or a denial, and nothing left behind.

Hypothesis invents the inputs: the same few in every ordinary run, and with the environment variable
``DJEM_TEST_EXAMPLES`` as many new ones for each test. What a test holds is in `tests.fuzz.bench`.
"""
