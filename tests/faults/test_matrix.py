"""The fault matrix: which tests hold which row (reference: F1 to F40), here and elsewhere.

A row whose tests live in this folder names them by its number (`test_f01_…`); the other rows are in `ELSEWHERE`.
"""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]

# What the row says; the tests are found by their names, or through ELSEWHERE.
ROWS = {
    1: "a reset after 40 % of a blob",
    2: "a short body",
    3: "no Content-Length and an early close",
    4: "a reset at every mebibyte",
    5: "a reset at the same offset for ever",
    6: "a range answered by the whole",
    7: "a 206 with another start or total, or in parts",
    8: "416 to a resume",
    9: "one wrong byte",
    10: "a damaged partial of an earlier run",
    11: "a manifest that is not its digest's; a lying digest header",
    12: "a web page in place of an answer",
    13: "429 with Retry-After",
    14: "Retry-After as a date, as GHCR's text, and of a day",
    15: "a storm of 429",
    16: "one 503",
    17: "500 on the commit of an upload that took effect",
    18: "an upload that the registry lost",
    19: "a registry that is away for ten seconds",
    20: "a token that runs out in a run, and within a blob",
    21: "a token service that is down or gives none",
    22: "redirects to another host, to plain http, in a loop",
    23: "upload locations elsewhere, relative, with a query",
    24: "links to another host, to itself, and empty pages",
    25: "a tag that moves between resolving and fetching",
    26: "a full disk",
    27: "kill -9",
    28: "SIGINT and SIGTERM",
    29: "eight processes at once",
    30: "a stale lock file; a file system without locks",
    31: "hostile archives",
    32: "decompression bombs",
    33: "referrers: 404, empty, 500, 403, a wrong type",
    34: "a fallback index raced by another writer",
    35: "a destination that never lists a referrer",
    36: "mirrors that are down, slow, wrong or closed",
    37: "clocks that differ",
    38: "proxies and opened TLS",
    39: "a server that stalls behind its headers",
    40: "targets that cannot be written; names that clash",
}

ELSEWHERE = {
    22: ["storage/registry/test_resolved_targets.py::test_a_redirect_to_a_name_that_resolves_near_is_not_followed"],
    23: [
        "storage/registry/test_hostile.py::test_a_challenge_of_a_foreign_upload_location_is_not_answered",
        "storage/registry/test_resolved_targets.py::test_an_upload_location_that_resolves_near_gets_no_body",
    ],
    26: [
        "cli/test_local_trouble.py::test_a_full_disk_changes_nothing",
        "cli/test_local_trouble.py::test_a_full_disk_for_the_lock_takes_everything_back",
    ],
    27: [
        "faults/test_kill.py::test_a_sync_that_is_killed_needs_no_repair",
        "faults/test_kill.py::test_kills_at_any_time_need_no_repair",
        "faults/test_kill_transfers.py::test_a_pull_that_is_killed_needs_no_repair",
        "faults/test_kill_transfers.py::test_a_pull_that_is_killed_at_any_request_needs_no_repair",
        "faults/test_kill_transfers.py::test_a_push_that_is_killed_at_any_request_leaves_the_tags_old_or_new",
        "faults/test_kill_transfers.py::test_a_fallback_tag_is_old_or_new_whenever_the_writer_is_killed",
        "faults/test_kill_transfers.py::test_a_killed_pull_of_a_large_file_goes_on_where_it_was",
        "faults/test_kill_transfers.py::test_a_push_to_a_layout_that_is_killed_leaves_a_layout",
        "storage/test_cache_shared.py::test_killed_download_is_taken_over",
    ],
    28: [
        "cli/test_interrupts.py::test_an_interrupted_sync_changes_nothing_and_the_next_one_works",
        "cli/test_interrupts.py::test_an_interrupted_pull_leaves_no_partial_file",
        "cli/test_interrupts.py::test_an_interrupted_push_leaves_no_tag",
    ],
    29: [
        "cli/test_interrupts.py::test_syncs_at_once_never_mix",
        "cli/test_interrupts.py::test_many_projects_share_one_cache_and_one_download",
        "storage/test_cache_shared.py::test_processes_that_want_the_same_blobs_download_each_once",
        "storage/test_layout_shared.py::test_eight_processes_that_make_and_tag_one_layout_lose_no_entry",
    ],
    31: [
        "artifact/test_hostile_archives.py::test_alone",
        "artifact/test_hostile_archives.py::test_compressed_as_the_second_layer",
    ],
    32: [
        "artifact/test_hostile_archives.py::test_bombs_end_early",
        "artifact/test_hostile_archives.py::test_many_entries_end_early",
    ],
    33: [
        "storage/registry/test_referrers.py::test_could_not_ask_is_never_none",
        "storage/registry/test_referrers.py::test_an_answer_that_is_no_list_is_an_error",
        "storage/registry/test_referrers.py::test_without_the_api_the_tag_is_read_and_the_api_not_asked_again",
        "storage/registry/test_referrers.py::test_an_empty_list_is_completed_by_the_tag",
    ],
    34: [
        "storage/registry/test_referrers.py::test_a_lost_update_is_made_again",
        "storage/registry/test_referrers.py::test_an_update_that_is_lost_again_and_again_is_an_error",
        "storage/registry/test_referrers.py::test_what_others_wrote_into_the_tag_stays",
    ],
    36: [
        "faults/test_f36_mirrors.py::test_a_mirror_that_is_down_is_passed_over_and_told_once",
        "faults/test_f36_mirrors.py::test_a_wrong_digest_stops_and_names_the_host",
        "faults/test_f36_mirrors.py::test_401_and_403_stop_and_name_the_host",
    ],
    40: ["cli/test_local_trouble.py::test_an_unwritable_destination_changes_nothing"],
}


def functions(path: Path) -> set[str]:
    """The names of the tests in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_row_has_its_tests() -> None:
    here = {name for path in (TESTS / "faults").glob("test_*.py") for name in functions(path)}
    for row, says in ROWS.items():
        found = [name for name in here if name.startswith(f"test_f{row:02}_")] + ELSEWHERE.get(row, [])
        assert found, f"F{row}: {says}"


def test_every_test_that_is_named_is_there() -> None:
    for names in ELSEWHERE.values():
        for named in names:
            path, _, function = named.partition("::")
            assert function in functions(TESTS / path), named
