"""Scripted experts: one goal-driven expert that solves LIBERO tasks with ordinary actions and privileged state.

It reads the task's parsed goal and serves its predicates one by one with small skills (``carry``,
``fixture_skills``). It is the source of demonstrations and a reference policy; it reads the simulator's true state,
which no learned policy does.
"""

from sim.experts.expert import expert_actions, expert_moves

__all__ = ["expert_actions", "expert_moves"]
