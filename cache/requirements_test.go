package cache

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// requirements are what the specifications ask of a shared cache, MUST and
// SHOULD, and the tests that see it done.
var requirements = []struct {
	section string
	what    string
	tests   string // between spaces
}{
	// RFC 9111, HTTP caching.
	{"2", "the key is the method and the target URI", "TestCacheRFC9111_2_KeyIsMethodAndURI TestRFC9111_4_ConstructingResponses"},
	{"3", "only methods that are understood are stored", "TestRFC9111_3_OnlyMethodsThatAreUnderstood TestRFC9111_3_Storing"},
	{"3", "only final statuses; 206, 304 and must-understand only if understood", "TestRFC9111_3_StoringResponses"},
	{"3", "nothing with no-store, in the request or the response", "TestRFC9111_3_StoringResponses TestRFC9111_3_Storing"},
	{"3", "nothing private, unless by field", "TestRFC9111_3_StoringResponses TestRFC9111_3_Storing"},
	{"3", "only with a lifetime, public, or a heuristically cacheable status", "TestRFC9110_15_1_HeuristicallyCacheable TestRFC9111_3_Statuses"},
	{"3.1", "all fields are stored but those of a connection and those named", "TestRFC9111_3_1_FieldsThatAreStored TestRFC9111_3_1_StoredFields"},
	{"3.2", "an update replaces every field but Content-Length and what the body depends on", "TestRFC9111_3_2_UpdatingStoredFields TestRFC9111_4_3_4_Freshening TestFieldsOf304 TestFieldsOfHead"},
	{"3.3", "an incomplete response is never used as a whole", "TestCacheRFC9111_3_3_IncompleteResponses TestRFC9111_3_3_PartialContent"},
	{"3.3", "a partial one answers ranges inside of it, with 206", "TestRFC9111_3_3_RangesFromPartialContent TestRFC9111_3_3_PartialContent"},
	{"3.4", "parts are combined only by the same strong validator", "TestRFC9111_3_4_CombiningPartialContent TestRFC9111_3_3_PartialContent TestCacheRFC9111_3_4_CombiningParts"},
	{"3.5", "answers to Authorization only with public, must-revalidate or s-maxage", "TestRFC9111_3_StoringResponses TestRFC9111_3_Storing TestMayFreshen TestFieldsOf304"},
	{"4", "no use but of what is fresh, may be stale, or was validated", "TestRFC9111_4_2_And_5_2_Decide TestRFC9111_4_2_Freshness"},
	{"4", "Age on every answer that was not validated", "TestRFC9111_3_1_StoredFields TestCacheRFC9111_4_2_3_Age"},
	{"4", "unsafe methods are written through", "TestRFC9111_4_ConstructingResponses"},
	{"4", "the most recent of several by Date", "TestRFC9111_4_1_ChoosingAmongVariants TestCacheRFC9111_4_MostRecentByDate"},
	{"4", "requests that are collapsed share only what could be stored", "TestWaitersGoOnByThemselves TestFollowersOfOtherVariants"},
	{"4.1", "Vary: the nominated fields match, absent ones only absent ones", "TestRFC9111_4_1_MatchingVary TestRFC9111_4_1_Vary TestVariantsWithOneTagStayApart TestVaryOf304TakesNothingAway"},
	{"4.1", "Vary: * never matches", "TestRFC9110_12_5_5_NominatedFields TestRFC9111_4_1_Vary"},
	{"4.1", "one with Vary is chosen before one without", "TestRFC9111_4_1_ChoosingAmongVariants TestRFC9111_4_1_Vary"},
	{"4.2", "dates: in any case, GMT alone, no other form", "TestRFC9110_5_6_7_ThreeFormsOfDate TestRFC9110_5_6_7_NoOtherFormIsADate"},
	{"4.2.1", "the order of lifetimes; what conflicts is stale", "TestRFC9111_4_2_1_CalculatingFreshnessLifetime TestRFC9111_1_2_2_DeltaSeconds TestRFC9111_4_2_Freshness"},
	{"4.2.2", "no heuristic beside an explicit lifetime, nor for other statuses", "TestRFC9111_4_2_2_HeuristicFreshness TestRFC9111_3_Statuses"},
	{"4.2.3", "the age, in full", "TestRFC9111_4_2_3_CalculatingAge TestRFC9111_4_2_3_CurrentAge TestClockThatWasPutBack"},
	{"4.2.4", "nothing stale where it is forbidden", "TestRFC9111_4_3_3_AnsweringErrors TestRFC9111_4_2_4_ServingStale"},
	{"4.3.1", "the stored validators are sent, and the fields that Vary names", "TestRFC9111_4_3_1_SendingAValidationRequest TestRFC9111_4_3_Validation"},
	{"4.3.2", "a client's conditions, If-None-Match first; Date for a missing Last-Modified", "TestRFC9111_4_3_2_ReceivedConditions TestRFC9111_4_3_2_ConditionsOfClients TestRFC9110_13_2_2_ConditionsRangesVariants"},
	{"4.3.2", "conditions for the origin are left to it", "TestRFC9111_4_3_2_ConditionsForTheOrigin TestRFC9111_4_3_2_ConditionsOfClients"},
	{"4.3.2", "a 304 to the cache's own tag is a 200 for a client without it", "TestRFC9111_4_3_2_ConditionsOfClients"},
	{"4.3.3", "304 reuses, a full answer replaces, 5xx may be answered stale", "TestRFC9111_4_3_Validation TestRFC9111_4_2_4_ServingStale"},
	{"4.3.4", "which stored responses a 304 updates", "TestRFC9111_4_3_4_SelectingWhatIsUpdated TestRFC9111_4_3_4_Freshening TestVariantsWithOneTagStayApart TestTagOf304"},
	{"4.3.5", "HEAD freshens what it fits, and makes stale what it does not", "TestRFC9111_4_3_5_FresheningWithHead TestRFC9111_4_3_5_Head"},
	{"4.4", "unsafe methods invalidate their URI, if they succeed", "TestRFC9111_4_4_WhatInvalidates TestRFC9111_4_4_Invalidation"},
	{"4.4", "Location and Content-Location only of the same origin", "TestRFC9111_4_4_LocationAndContentLocation TestRFC9111_4_4_Invalidation TestRFC9111_4_4_LocationOfAnotherHost"},
	{"4.4", "what is invalid is validated before it is used", "TestRFC9111_4_4_InvalidatedIsNeverUsedUnvalidated TestRFC9111_4_4_Invalidation"},
	{"5.1", "the first Age counts, what is no number does not", "TestRFC9111_4_2_3_CalculatingAge"},
	{"5.2", "directives have no case; unknown ones are ignored; tokens and quoted strings", "TestRFC9111_1_2_2_DeltaSeconds TestRFC9111_5_2_2_ResponseDirectives"},
	{"5.2.1.1", "max-age of a request", "TestRFC9111_4_2_And_5_2_Decide TestRFC9111_5_2_1_RequestDirectivesObeyed"},
	{"5.2.1.2", "max-stale", "TestRFC9111_4_2_And_5_2_Decide TestRFC9111_5_2_1_RequestDirectivesObeyed"},
	{"5.2.1.3", "min-fresh", "TestRFC9111_4_2_And_5_2_Decide TestRFC9111_5_2_1_RequestDirectivesObeyed"},
	{"5.2.1.4", "no-cache of a request", "TestRFC9111_4_2_And_5_2_Decide TestRFC9111_5_2_1_RequestDirectivesObeyed"},
	{"5.2.1.5", "no-store of a request", "TestRFC9111_3_Storing"},
	{"5.2.1.7", "only-if-cached: 504", "TestRFC9111_5_2_1_RequestDirectivesObeyed"},
	{"5.2.2.2", "must-revalidate", "TestRFC9111_4_2_And_5_2_Decide TestRFC9111_4_2_4_ServingStale"},
	{"5.2.2.3", "must-understand", "TestRFC9111_3_StoringResponses TestRFC9111_3_Storing"},
	{"5.2.2.4", "no-cache, with fields and without", "TestRFC9111_5_2_2_4_FieldsOfNoCacheAndPrivate TestRFC9111_5_2_2_4_FieldsStayOutAfter304 TestRFC9111_3_1_StoredFields"},
	{"5.2.2.7", "private, with fields and without", "TestRFC9111_5_2_2_4_FieldsOfNoCacheAndPrivate TestRFC9111_3_Storing"},
	{"5.2.2.8", "proxy-revalidate", "TestRFC9111_4_2_And_5_2_Decide TestRFC9111_4_2_4_ServingStale"},
	{"5.2.2.9", "public", "TestRFC9111_3_StoringResponses TestRFC9111_3_Statuses"},
	{"5.2.2.10", "s-maxage, which forbids stale answers", "TestRFC9111_4_2_1_CalculatingFreshnessLifetime TestRFC9111_4_2_4_ServingStale"},
	{"5.3", "a broken Expires is in the past; max-age and s-maxage beat it", "TestRFC9111_5_3_InvalidExpiresIsInThePast TestRFC9111_4_2_Freshness"},
	{"5.4", "Pragma: no-cache in requests without Cache-Control", "TestRFC9111_5_4_PragmaOnlyWithoutCacheControl TestRFC9111_5_2_1_RequestDirectivesObeyed"},
	{"7", "nothing that splits a response is stored", "TestRFC9111_3_StoringResponses"},

	// RFC 9110, HTTP semantics.
	{"9110 6.6.1", "a missing Date is added", "TestRFC9110_6_6_1_DateIsAdded"},
	{"9110 8.8.2.2", "a date is a strong validator only if it is old enough", "TestRFC9110_13_1_5_IfRange"},
	{"9110 8.8.3", "entity tags: grammar, strong and weak comparison", "TestRFC9110_8_8_3_EntityTags TestRFC9110_8_8_3_2_Comparison"},
	{"9110 13.1.5", "If-Range: strong only", "TestRFC9110_13_1_5_IfRange TestRFC9110_14_RangesFromTheCache"},
	{"9110 13.2.1", "conditions count for 2xx only", "TestRFC9110_13_2_1_ConditionsOfSuccessOnly"},
	{"9110 13.2.2", "the order of conditions and ranges", "TestRFC9110_13_2_2_ConditionsRangesVariants"},
	{"9110 14.1.2", "positions, suffixes, what is beyond the end", "TestRFC9110_14_1_1_RangeSpecifiers TestRFC9110_14_1_2_RangesOfABody TestRFC9110_14_RangesFromTheCache"},
	{"9110 14.2", "broken ranges, other units, too many are ignored", "TestRFC9110_14_2_RangesThatAreIgnored TestRFC9110_14_RangesFromTheCache"},
	{"9110 14.4", "Content-Range", "TestRFC9110_14_4_ContentRange"},
	{"9110 14.6", "multipart/byteranges", "TestRFC9110_14_6_Multipart TestRFC9110_14_RangesFromTheCache"},
	{"9110 15.3.7", "the fields of 206", "TestRFC9110_14_RangesFromTheCache"},
	{"9110 15.4.5", "the fields of 304", "TestRFC9111_4_3_2_ConditionsOfClients"},
	{"9110 15.5.17", "416 tells the length", "TestRFC9110_14_RangesFromTheCache"},

	// What was added to it.
	{"5861 3", "stale-while-revalidate", "TestRFC9111_4_2_And_5_2_Decide TestRFC9111_4_2_4_ServingStale"},
	{"5861 4", "stale-if-error", "TestRFC9111_4_3_3_AnsweringErrors TestRFC9111_4_2_4_ServingStale TestRFC5861_4_StatusesThatAreErrors"},
	{"8246 2", "immutable", "TestRFC9111_4_2_And_5_2_Decide TestRFC9111_5_2_1_RequestDirectivesObeyed"},
	{"9211 2", "Cache-Status", "TestRFC9211_2_CacheStatus TestRFC9211_2_IsAStructuredList TestRFC9211_CacheStatusOfAnswers"},
	{"9213 2.1", "targeted fields are dictionaries, and ignored whole if broken", "TestRFC9213_2_1_BrokenTargetedFieldIsIgnoredWhole TestRFC9213_2_1_DictionariesThatAreWhole"},
	{"9213 2.2", "the first of the list counts, and neither Cache-Control nor Expires", "TestRFC9213_2_2_TargetedFieldBeatsCacheControl TestRFC9213_2_2_FirstOfTheTargetListCounts TestRFC9213_TargetedFieldObeyed"},
}

// TestEveryRequirementHasATest fails when a test that the table names is gone.
func TestEveryRequirementHasATest(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	rules, err := filepath.Glob("internal/rfc9111/*_test.go")
	require.NoError(t, err)
	there := map[string]bool{}
	for _, name := range append(files, rules...) {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				there[fn.Name.Name] = true
			}
		}
	}
	for _, r := range requirements {
		tests := strings.Fields(r.tests)
		require.NotEmpty(t, tests, "%s: %s", r.section, r.what)
		for _, test := range tests {
			require.True(t, there[test], "%s: %s: there is no %s", r.section, r.what, test)
		}
	}
}
